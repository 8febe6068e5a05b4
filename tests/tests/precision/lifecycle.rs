//! S3.10 and S3.13: lifecycle configurations.
//!
//! ["NON_COMPLIANT if there is no active lifecycle configuration rules or the configuration does not match with the
//! parameter values"](https://docs.aws.amazon.com/config/latest/developerguide/s3-lifecycle-policy-check.html), and of a
//! bucket that keeps versions, ["if Amazon S3 Lifecycle policy is not
//! enabled"](https://docs.aws.amazon.com/config/latest/developerguide/s3-version-lifecycle-policy-check.html).

use aws_sdk_s3::types::{
    BucketVersioningStatus, TransitionDefaultMinimumObjectSize, VersioningConfiguration,
};
use proptest::{prelude::*, test_runner::TestCaseResult};
use redress_remediators::body::{Answer, Body};
use redress_router::audit::{Stage, Verb};

use super::{
    hold,
    world::{Asked, BUCKET, BUCKET_ARN, Seen, World, block_on},
};

const OURS: [&str; 2] = ["redress-abort-incomplete-uploads", "redress-lifecycle"];

/// A rule: what the control looks at, and its text.
#[derive(Clone, Debug)]
struct Rule {
    id: String,
    enabled: bool,
    expires: Option<u32>,
    moves: Vec<(u32, &'static str)>,
    text: String,
}

const CLASSES: [&str; 3] = ["GLACIER", "DEEP_ARCHIVE", "STANDARD_IA"];

/// Its elements in any order, with white space, references and elements that no SDK knows.
fn rule(number: usize, of_old: bool) -> impl Strategy<Value = Rule> {
    let id = prop_oneof![12 => Just(None), 1 => prop::sample::select(OURS.to_vec()).prop_map(Some)];
    let days = || prop::sample::select(vec![30u32, 60, 90]);
    let moves = prop::collection::vec((days(), prop::sample::select(CLASSES.to_vec())), 0..3);
    let odd = prop::sample::select(vec!["", "a&amp;b", "&#13;", "é&lt;", "<![CDATA[<x>]]>", " x "]);
    let space = prop::sample::select(vec!["", "\n  ", " ", "<!-- kept -->"]);
    let unknown = prop::sample::select(vec!["", "<Later><New a=\"1\">x</New></Later>", "<Hint/>"]);
    (id, prop::bool::weighted(0.3), prop::option::of(days()), moves, odd, space, unknown, 0..6usize, 0..3u8).prop_map(
        move |(id, enabled, expires, moves, odd, space, unknown, turn, filter)| {
            let id = id.map_or_else(|| format!("rule-{number}"), str::to_owned);
            let filter = match filter {
                0 => format!("<Filter><And><Prefix>{odd}</Prefix><Tag><Key>k</Key><Value>{odd}</Value></Tag></And></Filter>"),
                1 => format!("<Filter>{space}<Prefix>{odd}</Prefix></Filter>"),
                _ => "<Filter/>".to_owned(),
            };
            let filter = if of_old { format!("<Prefix>{odd}</Prefix>") } else { filter };
            let moved: Vec<String> = moves
                .iter()
                .map(|(days, class)| {
                    format!("<Transition>{space}<Days>{days}</Days><StorageClass>{class}</StorageClass></Transition>")
                })
                .collect();
            let expiry = expires.map(|days| format!("<Expiration><Days>{days}</Days>{space}</Expiration>"));
            // S3 wants one action at least.
            let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation>\
                         </AbortIncompleteMultipartUpload>";
            let status = if enabled { "Enabled" } else { "Disabled" };
            let mut parts = [
                format!("<ID>{id}</ID>"),
                format!("<Status>{status}</Status>"),
                filter,
                moved.concat(),
                expiry.unwrap_or_default(),
                format!("{unknown}{abort}"),
            ];
            parts.rotate_left(turn);
            let text = format!("<Rule>{}</Rule>", parts.join(space));
            Rule { id, enabled, expires, moves, text }
        },
    )
}

#[derive(Clone, Debug)]
struct Given {
    rules: Vec<Rule>,
    between: &'static str,
    varies: bool,
    versioned: bool,
    /// What the control demands: days and class of a transition, days of an expiration.
    demands: (Option<u32>, Option<&'static str>, Option<u32>),
    /// What the rule asks for.
    params: (Option<(u32, &'static str)>, Option<u32>),
    control: &'static str,
}

fn given() -> impl Strategy<Value = Given> {
    // From before there were filters, all of a bucket's rules or none.
    let rules = (0..5usize, prop::bool::weighted(0.2))
        .prop_flat_map(|(many, of_old)| (0..many).map(|number| rule(number, of_old)).collect::<Vec<_>>());
    let days = || prop::sample::select(vec![30u32, 60, 90]);
    let class = || prop::sample::select(CLASSES.to_vec());
    let demands = prop_oneof![
        3 => Just((None, None, None)),
        2 => (prop::option::of(days()), prop::option::of(class()), prop::option::of(days())),
    ];
    let params = (prop::option::of((days(), class())), prop::option::of(days()));
    let between = prop::sample::select(vec!["", "\n", "  "]);
    let control = prop::sample::select(vec!["S3.13", "S3.10"]);
    (rules, between, any::<bool>(), any::<bool>(), demands, params, control).prop_map(
        |(mut rules, between, varies, versioned, demands, params, control)| {
            let mut ids = Vec::new();
            rules.retain(|rule: &Rule| {
                let new = !ids.contains(&rule.id);
                ids.push(rule.id.clone());
                new
            });
            Given { rules, between, varies, versioned, demands, params, control }
        },
    )
}

impl Given {
    fn asked(&self) -> Asked {
        let mut parameters = Vec::new();
        if let Some(days) = self.demands.0 {
            parameters.push(("targetTransitionDays", vec![days.to_string()]));
        }
        if let Some(class) = self.demands.1 {
            parameters.push(("targetTransitionStorageClass", vec![class.to_owned()]));
        }
        if let Some(days) = self.demands.2 {
            parameters.push(("targetExpirationDays", vec![days.to_string()]));
        }
        let mut params = Vec::new();
        if let Some((days, class)) = self.params.0 {
            params.push(format!("transitions: [{{days: {days}, storage_class: {class}}}]"));
        }
        if let Some(days) = self.params.1 {
            params.push(format!("expiration_days: {days}"));
        }
        let params = format!("{{{}}}", params.join(", "));
        Asked { control: self.control, parameters, remediator: "s3.add_lifecycle_rule", params }
    }

    /// Whether one rule is what the control demands.
    fn meets(&self, moves: &[(u32, &str)], expires: Option<u32>) -> bool {
        let (days, class, expiration) = match self.control {
            "S3.13" => self.demands,
            _ => (None, None, None),
        };
        let moved = moves.iter().any(|(after, to)| {
            days.is_none_or(|days| days == *after) && class.is_none_or(|class| class == *to)
        });
        (moved || days.is_none() && class.is_none()) && expiration.is_none_or(|days| expires == Some(days))
    }

    fn passes(&self) -> bool {
        self.control == "S3.10" && !self.versioned
            || self.rules.iter().any(|rule| rule.enabled && self.meets(&rule.moves, rule.expires))
    }

    /// Whether what the rule asks for can't be done: it is no answer to the control, or S3 would not take it.
    fn is_hopeless(&self) -> bool {
        let moves: Vec<(u32, &str)> = self.params.0.into_iter().collect();
        let expires_first = self.params.1.is_some_and(|days| moves.iter().any(|(after, _)| *after >= days));
        let id = if self.params == (None, None) { OURS[0] } else { OURS[1] };
        !self.meets(&moves, self.params.1) || expires_first || self.rules.iter().any(|rule| rule.id == id)
    }
}

/// The rules as they stand in S3's answer, and how large an object must be to be moved.
async fn live(world: &World) -> (Vec<String>, Option<String>) {
    let answer = Answer::default();
    let found = world
        .s3()
        .get_bucket_lifecycle_configuration()
        .bucket(BUCKET)
        .customize()
        .interceptor(answer.clone())
        .send()
        .await;
    match found {
        Ok(found) => {
            let text = answer.text().unwrap();
            let rules = text
                .split("<Rule>")
                .skip(1)
                .map(|rule| format!("<Rule>{}</Rule>", rule.split("</Rule>").next().unwrap()));
            let size = found.transition_default_minimum_object_size;
            (rules.collect(), size.map(|size| size.as_str().to_owned()))
        }
        Err(error) => {
            let code = error.as_service_error().and_then(|error| error.meta().code().map(str::to_owned));
            assert_eq!(code.as_deref(), Some("NoSuchLifecycleConfiguration"), "{error:?}");
            (Vec::new(), None)
        }
    }
}

async fn make(world: &World, given: &Given) {
    world.bucket().await;
    let s3 = world.s3();
    if given.versioned {
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled).send().await.unwrap();
    }
    if given.rules.is_empty() {
        return;
    }
    let rules: Vec<&str> = given.rules.iter().map(|rule| rule.text.as_str()).collect();
    let document = format!(
        "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}{}</LifecycleConfiguration>",
        rules.join(given.between),
        given.between
    );
    let size = given.varies.then_some(TransitionDefaultMinimumObjectSize::VariesByStorageClass);
    s3.put_bucket_lifecycle_configuration()
        .bucket(BUCKET)
        .set_transition_default_minimum_object_size(size)
        .customize()
        .interceptor(Body(document))
        .send()
        .await
        .unwrap();
}

async fn goes_there_and_back(given: Given, seen: &Seen) -> TestCaseResult {
    let world = World::new();
    make(&world, &given).await;
    let before = live(&world).await;
    let made: Vec<&str> = given.rules.iter().map(|rule| rule.text.as_str()).collect();
    prop_assert_eq!(&before.0, &made);

    let asked = given.asked();
    let engine = world.engine(&asked);
    let (outcome, writes) = world.ask(&engine, Verb::Fix, &asked, "AwsS3Bucket", BUCKET_ARN).await;
    seen.count(outcome.stage);
    let after = live(&world).await;
    let reason = outcome.reason.unwrap_or_default();
    if given.passes() {
        prop_assert_eq!(outcome.stage, Stage::Compliant, "{}", reason);
        prop_assert!(writes.is_empty() && after == before);
        return Ok(());
    }
    if given.is_hopeless() {
        prop_assert_eq!(outcome.stage, Stage::Refused, "{}", reason);
        prop_assert!(writes.is_empty() && after == before);
        return Ok(());
    }
    prop_assert_eq!(outcome.stage, Stage::Verified, "{}", reason);
    prop_assert_eq!(writes.len(), 1);
    prop_assert_eq!(after.0.len(), before.0.len() + 1);
    prop_assert_eq!(&after.0[..before.0.len()], &before.0[..]);
    if !before.0.is_empty() {
        prop_assert_eq!(&after.1, &before.1);
    }
    // The one that is new is on, and does what is asked for, to every object.
    let new = &after.0[before.0.len()];
    let expected = [
        Some("<Status>Enabled</Status>".to_owned()),
        Some(if before.0.iter().any(|rule| !rule.contains("<Filter")) {
            "</ID><Prefix></Prefix><Status>".to_owned()
        } else {
            "<Filter><Prefix></Prefix></Filter>".to_owned()
        }),
        given.params.0.map(|(days, class)| {
            format!("<Transition><Days>{days}</Days><StorageClass>{class}</StorageClass></Transition>")
        }),
        given.params.1.map(|days| format!("<Expiration><Days>{days}</Days></Expiration>")),
    ];
    for part in expected.into_iter().flatten() {
        prop_assert!(new.contains(&part), "{} in {}", part, new);
    }
    prop_assert_eq!(new.contains("<Transition>"), given.params.0.is_some());
    prop_assert_eq!(new.contains("<Expiration>"), given.params.1.is_some());

    let (undone, _) = world.ask(&engine, Verb::Undo, &asked, "AwsS3Bucket", BUCKET_ARN).await;
    prop_assert_eq!(undone.stage, Stage::Undone, "{:?}", undone.reason);
    prop_assert_eq!(live(&world).await, before);
    Ok(())
}

#[test]
fn a_lifecycle_configuration_has_one_rule_more_and_every_other_as_it_was() {
    let seen = Seen::default();
    hold(96, &given(), |given| block_on(goes_there_and_back(given, &seen)));
    seen.had(&[Stage::Verified, Stage::Compliant, Stage::Refused]);
}
