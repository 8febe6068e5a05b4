//! Lambda functions.

use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, Sighting, action::On,
};

/// A function, or a version or alias of one, which has a policy of its own.
pub(crate) struct Function {
    /// Its name, and where it is a version or an alias, a colon and which: calls take it so, and IAM compares it whole
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-api-permissions-ref.html>).
    pub(crate) name: String,
}

/// The function itself, whatever its version: tags are its alone.
const WHOLE: &str = "arn:{partition}:lambda:{region}:{account}:function:{id.name}";

impl Resource for Function {
    const KIND: KindInfo = KindInfo {
        what: "a function",
        asff: "AwsLambdaFunction",
        cfn: "AWS::Lambda::Function",
        arn: "arn:{partition}:lambda:{region}:{account}:function:{id}",
        reads: &[
            Action::new("lambda:GetFunctionConfiguration", On::Resource),
            Action::new("lambda:ListTags", On::Arn(WHOLE)),
        ],
        // A name of 64 and a qualifier of 128.
        longest_id: 193,
    };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        let id = match seen.agreed("lambda")? {
            Some(arn) => arn
                .resource
                .strip_prefix("function:")
                .ok_or_else(|| Misplaced::new("the ARN is not a function's"))?,
            // OCSF: `uid` is the bare name.
            None => seen.id,
        };
        // What is not published is the function without a qualifier.
        let id = id.strip_suffix(":$LATEST").unwrap_or(id);
        let key = seen.key(Self::KIND.asff, seen.region, id);
        Self::from_key(&key)?;
        Ok(key)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
        let legal = |text: &str, longest: usize| {
            (1..=longest).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let (name, qualifier) = match key.id.split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier)),
            None => (key.id.as_str(), None),
        };
        let is_id = legal(name, 64) && qualifier.is_none_or(|qualifier| legal(qualifier, 128));
        Self::KIND.check(key, is_id)?;
        Ok(Self { name: key.id.clone() })
    }

    async fn inspect(&self, aws: &Aws, tags: bool) -> Result<Facts> {
        let found = aws.lambda().get_function_configuration().function_name(&self.name).send().await?;
        let whole = aws.key().fill(WHOLE);
        // Of an alias it may be the ARN of the version behind it.
        let rest = found.function_arn().and_then(|arn| arn.strip_prefix(&whole));
        if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':')) {
            return Err(Error::new(
                ErrorKind::Rejected,
                format!("function `{}` is not in the finding's account and Region", self.name),
            ));
        }
        if !tags {
            return Ok(Facts { tags: Some(Vec::new()) });
        }
        let found = aws.lambda().list_tags().resource(whole).send().await?;
        Ok(Facts { tags: Some(found.tags.unwrap_or_default().into_iter().collect()) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:resize";

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting {
            kind: "AwsLambdaFunction",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_function() {
        let asff = Function::locate(&seen(ARN, None)).unwrap();
        assert_eq!(asff.to_string(), "aws/123456789012/eu-west-1/AwsLambdaFunction/resize");
        assert_eq!(Function::locate(&seen("resize", Some(ARN))).unwrap(), asff);
        assert_eq!(Function::locate(&seen(&format!("{ARN}:$LATEST"), None)).unwrap(), asff);
        assert_eq!(asff.fill(Function::KIND.arn), ARN);
    }

    #[test]
    fn a_qualifier_is_part_of_the_key() {
        let alias = format!("{ARN}:live");
        let key = Function::locate(&seen(&alias, None)).unwrap();
        assert_eq!(key.to_string(), "aws/123456789012/eu-west-1/AwsLambdaFunction/resize:live");
        assert_eq!((key.fill(Function::KIND.arn), key.fill(WHOLE)), (alias, ARN.to_owned()));
        assert_eq!(Function::from_key(&key).unwrap().name, "resize:live");
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws-cn:lambda:eu-west-1:123456789012:function:resize",
            "arn:aws:lambda:us-east-1:123456789012:function:resize",
            "arn:aws:lambda:eu-west-1:999999999999:function:resize",
            "arn:aws:lambda:eu-west-1:123456789012:layer:resize",
            "arn:aws:lambda:eu-west-1:123456789012:function:resize:live:x",
            "arn:aws:lambda:eu-west-1:123456789012:function:resize:",
            "arn:aws:lambda:eu-west-1:123456789012:function:a/b",
            "arn:aws:iam:eu-west-1:123456789012:function:resize",
            "",
        ] {
            assert!(Function::locate(&seen(id, None)).is_err(), "{id}");
        }
        for key in
            ["aws/123456789012/global/AwsLambdaFunction/a", "aws/123456789012/eu-west-1/AwsLambdaFunction/*"]
        {
            assert!(Function::from_key(&key.parse().unwrap()).is_err(), "{key}");
        }
    }
}
