//! Findings live from Security Hub.

use aws_config::SdkConfig;
use aws_sdk_securityhub::types::{AwsSecurityFindingFilters, StringFilter};
use redress_router::{
    control::{ControlId, INACTIVE_USER},
    event::{Decoded, shown},
    hub::{self, equals},
    rules::RuleSet,
};

use crate::{
    args::Findings,
    context::account,
    exit::{Failure, Result},
};

/// Values that one filter takes.
const MOST_VALUES: usize = 20;

/// Asks Security Hub for failed, active findings that nobody has resolved or suppressed. All filters are
/// applied there. `seen` is told how many there are so far.
pub(crate) async fn findings(
    aws: &SdkConfig,
    wanted: &Findings,
    rules: &RuleSet,
    mut seen: impl FnMut(usize),
) -> Result<Vec<Decoded>> {
    let hub = aws_sdk_securityhub::Client::new(aws);
    let mut found = Vec::new();
    for filters in filters(wanted, rules)? {
        let before = found.len();
        let more = hub::findings(&hub, &filters, |number| seen(before + number)).await;
        found.extend(more.map_err(|error| Failure::from(error).context("Security Hub"))?);
    }
    Ok(found)
}

/// What is asked for, in as many questions as it takes.
fn filters(wanted: &Findings, rules: &RuleSet) -> Result<Vec<AwsSecurityFindingFilters>> {
    let all = |values: &[String]| -> Option<Vec<StringFilter>> {
        (!values.is_empty()).then(|| values.iter().map(|value| equals(value)).collect())
    };
    for values in [&wanted.control, &wanted.severity, &wanted.resource, &wanted.account] {
        if values.len() > MOST_VALUES {
            let why = format!("{} values of one filter; Security Hub takes {MOST_VALUES}", values.len());
            return Err(Failure::input(why));
        }
    }
    for id in &wanted.account {
        account(id).map_err(|failure| failure.context("--account"))?;
    }
    let mut controls = Vec::new();
    for given in &wanted.control {
        let control =
            given.parse::<ControlId>().map_err(|error| Failure::input(format!("--control: {error}")))?;
        controls.push(control.as_str().to_owned());
    }
    let severities: Vec<String> = wanted.severity.iter().map(|label| label.to_ascii_uppercase()).collect();
    let filters = AwsSecurityFindingFilters::builder()
        .compliance_status(equals("FAILED"))
        .record_state(equals("ACTIVE"))
        .workflow_status(equals("NEW"))
        .workflow_status(equals("NOTIFIED"))
        .set_severity_label(all(&severities))
        .set_resource_id(all(&wanted.resource))
        .set_aws_account_id(all(&wanted.account));
    if controls.iter().any(|control| control == INACTIVE_USER) {
        if controls.len() > 1 {
            let why = format!("--control {}: ask for it alone", shown(INACTIVE_USER));
            return Err(Failure::input(why));
        }
        // It is no control of Security Hub's: its findings are those of an account's own product.
        return Ok(vec![filters.generator_id(equals(INACTIVE_USER)).build()]);
    }
    let mut asked = Vec::new();
    if controls.is_empty() {
        // What no rule names is not worth asking for.
        controls = rules.rules.iter().flat_map(|rule| rule.controls.clone()).collect();
        controls.sort();
        controls.dedup();
        if controls.iter().any(|control| control == INACTIVE_USER) {
            asked.push(filters.clone().generator_id(equals(INACTIVE_USER)).build());
        }
        controls.retain(|control| control != INACTIVE_USER);
    }
    let filters = filters.product_name(equals("Security Hub"));
    let few = |controls: &[String]| filters.clone().set_compliance_security_control_id(all(controls)).build();
    asked.extend(controls.chunks(MOST_VALUES).map(few));
    Ok(asked)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn asked(wanted: &Findings) -> Result<Vec<AwsSecurityFindingFilters>> {
        filters(wanted, &RuleSet::builtin().unwrap())
    }

    fn values(filters: &[StringFilter]) -> Vec<&str> {
        filters.iter().filter_map(StringFilter::value).collect()
    }

    #[test]
    fn only_what_could_be_fixed_is_asked_for() {
        let wanted = Findings {
            control: vec!["s3.14".to_owned()],
            severity: vec!["high".to_owned()],
            ..Findings::default()
        };
        let filters = asked(&wanted).unwrap();
        let [filters] = filters.as_slice() else { unreachable!("{filters:?}") };
        assert_eq!(values(filters.compliance_status()), ["FAILED"]);
        assert_eq!(values(filters.record_state()), ["ACTIVE"]);
        assert_eq!(values(filters.workflow_status()), ["NEW", "NOTIFIED"]);
        assert_eq!(values(filters.product_name()), ["Security Hub"]);
        assert_eq!(values(filters.compliance_security_control_id()), ["S3.14"]);
        assert_eq!(values(filters.severity_label()), ["HIGH"]);
        let any = asked(&Findings { severity: vec!["low".to_owned()], ..Findings::default() }).unwrap();
        assert!(any.len() > 1, "more controls than one filter takes");
        let asked_for: Vec<&str> =
            any.iter().flat_map(|filters| values(filters.compliance_security_control_id())).collect();
        assert!(asked_for.contains(&"S3.14") && asked_for.contains(&"EC2.13"));
        assert!(any.iter().all(|filters| filters.compliance_security_control_id().len() <= MOST_VALUES));
        assert!(any.iter().any(|filters| values(filters.generator_id()) == [INACTIVE_USER]));
        assert!(any.iter().all(|filters| values(filters.severity_label()) == ["LOW"]));
        let own = Findings { control: vec![INACTIVE_USER.to_owned()], ..Findings::default() };
        let own = asked(&own).unwrap().remove(0);
        assert_eq!(values(own.generator_id()), [INACTIVE_USER]);
        assert!(own.product_name().is_empty());
    }

    #[test]
    fn a_filter_that_cannot_be_is_named() {
        let control = Findings { control: vec!["S3-14".to_owned()], ..Findings::default() };
        assert!(asked(&control).unwrap_err().message.contains("`S3-14`"));
        let account = Findings { account: vec!["123".to_owned()], ..Findings::default() };
        assert!(asked(&account).unwrap_err().message.contains("`123`"));
        let many = Findings { resource: vec!["arn:aws:s3:::a".to_owned(); 21], ..Findings::default() };
        assert!(asked(&many).unwrap_err().message.contains("21 values"));
    }
}
