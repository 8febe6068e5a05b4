//! Services that winterbaume answers, with the account's own ARNs in place of its one account's.
//!
//! Where one of them is not as AWS is, it has a module of its own that stands in front of it: see
//! [`answer`](Others::answer).

use bytes::Bytes;
use http::Response;
use winterbaume_core::{DEFAULT_ACCOUNT_ID, MockService};

use super::settings::Databases;
use super::wire::{Refusal, Request, rewrite};
use super::{cloudtrail, ecr, guardduty, iam, lambda, logs, own_arns, secretsmanager, sns, sqs, ssm};

/// The services of one account.
#[derive(Default)]
pub(super) struct Others {
    databases: Databases,
    cloudtrail: winterbaume_cloudtrail::CloudTrailService,
    trails: cloudtrail::Trails,
    ecr: winterbaume_ecr::EcrService,
    elasticache: winterbaume_elasticache::ElastiCacheService,
    guardduty: winterbaume_guardduty::GuardDutyService,
    iam_dates: iam::Dates,
    iam: winterbaume_iam::IamService,
    lambda: winterbaume_lambda::LambdaService,
    logs: winterbaume_cloudwatchlogs::CloudWatchLogsService,
    macie2: winterbaume_macie2::Macie2Service,
    rds: winterbaume_rds::RdsService,
    redshift: winterbaume_redshift::RedshiftService,
    secretsmanager: winterbaume_secretsmanager::SecretsManagerService,
    sns: winterbaume_sns::SnsService,
    sqs: winterbaume_sqs::SqsService,
    ssm: winterbaume_ssm::SsmService,
    queues: sqs::Queues,
    repositories: ecr::Repositories,
    functions: lambda::Functions,
    systems: ssm::Systems,
    pub(super) detectors: guardduty::Tokens,
    pub(super) log_classes: logs::Classes,
}

impl Others {
    fn service(&self, name: &str) -> Option<&dyn MockService> {
        Some(match name {
            "cloudtrail" => &self.cloudtrail,
            "ecr" => &self.ecr,
            "elasticache" => &self.elasticache,
            "guardduty" => &self.guardduty,
            "iam" => &self.iam,
            "lambda" => &self.lambda,
            "logs" => &self.logs,
            "macie2" => &self.macie2,
            "rds" => &self.rds,
            "redshift" => &self.redshift,
            "secretsmanager" => &self.secretsmanager,
            "sns" => &self.sns,
            "sqs" => &self.sqs,
            "ssm" => &self.ssm,
            _ => return None,
        })
    }

    /// Answers a request to one of these services.
    pub(super) async fn answer(&self, request: &Request, operation: &str) -> Response<Bytes> {
        match request.service.as_str() {
            "cloudtrail" => self.trails.answer(self, request, operation).await,
            "elasticache" | "rds" | "redshift" => self.databases.answer(self, request, operation).await,
            "ecr" => self.repositories.answer(self, request, operation).await,
            "lambda" => self.functions.answer(self, request, operation).await,
            "sns" => sns::answer(self, request, operation).await,
            "sqs" => self.queues.answer(self, request, operation).await,
            "ssm" => self.systems.answer(self, request, operation).await,
            "iam" => iam::answer(self, &self.iam_dates, request, operation).await,
            "guardduty" => guardduty::answer(self, request, operation).await,
            "logs" => logs::answer(self, request, operation).await,
            "secretsmanager" => secretsmanager::answer(self, request, operation).await,
            _ => self.pass(request).await,
        }
    }

    /// Asks winterbaume, in the name of whoever made the request, for another operation of its Query service.
    pub(super) async fn ask(
        &self,
        request: &Request,
        operation: &str,
        fields: &[(&str, &str)],
    ) -> Response<Bytes> {
        let version = request.form.get("Version").unwrap_or_default();
        let mut body = format!("Action={operation}&Version={version}");
        for (field, value) in fields {
            body.extend(["&", field, "=", value]);
        }
        self.pass(&Request { body: body.into(), ..request.clone() }).await
    }

    /// Asks winterbaume, which knows one account only.
    pub(super) async fn pass(&self, request: &Request) -> Response<Bytes> {
        let name = request.service.as_str();
        let Some(service) = self.service(name) else {
            let message = format!("The sandbox has no service `{name}`.");
            return Refusal::new(501, "UnknownOperationException", message).response(name);
        };
        let own = format!("{}:", request.account());
        let theirs = format!("{DEFAULT_ACCOUNT_ID}:");
        let mut asked = request.clone();
        // In a form, the colon is `%3A`.
        let body = String::from_utf8_lossy(&request.body).replace(&own, &theirs);
        let body = body.replace(&format!("{}%3A", request.account()), &format!("{DEFAULT_ACCOUNT_ID}%3A"));
        asked.body = body.into();
        asked.path = request.path.replace(&own, &theirs);
        asked.path =
            asked.path.replace(&format!("{}%3A", request.account()), &format!("{DEFAULT_ACCOUNT_ID}%3A"));
        let host = format!("{name}.{}.amazonaws.com", request.region);
        let mut response = asked.pass_to(service, &host).await;
        rewrite(&mut response, |text| own_arns(text, request.account()));
        response
    }
}

/// The operation of a REST service, of its method and path.
///
/// A template's parts in braces stand for anything. What is not here goes by its method and path.
pub(super) fn rest_operation(service: &str, method: &str, path: &str) -> Option<&'static str> {
    const OPERATIONS: &[(&str, &str, &str, &str)] = &[
        ("guardduty", "GET", "/detector", "ListDetectors"),
        ("guardduty", "POST", "/detector", "CreateDetector"),
        ("guardduty", "GET", "/detector/{}", "GetDetector"),
        ("guardduty", "POST", "/detector/{}", "UpdateDetector"),
        ("guardduty", "DELETE", "/detector/{}", "DeleteDetector"),
        ("lambda", "GET", "/2015-03-31/functions/{}", "GetFunction"),
        ("lambda", "GET", "/2015-03-31/functions/{}/configuration", "GetFunctionConfiguration"),
        ("lambda", "GET", "/2015-03-31/functions/{}/policy", "GetPolicy"),
        ("lambda", "POST", "/2015-03-31/functions/{}/policy", "AddPermission"),
        ("lambda", "DELETE", "/2015-03-31/functions/{}/policy/{}", "RemovePermission"),
        ("lambda", "POST", "/2015-03-31/functions", "CreateFunction"),
        ("lambda", "GET", "/2017-03-31/tags/{}", "ListTags"),
        ("macie2", "GET", "/macie", "GetMacieSession"),
        ("macie2", "POST", "/macie", "EnableMacie"),
        ("macie2", "PATCH", "/macie", "UpdateMacieSession"),
        ("macie2", "DELETE", "/macie", "DisableMacie"),
    ];
    let parts = |path: &'static str| path.trim_matches('/').split('/');
    OPERATIONS
        .iter()
        .find(|(of, by, template, _)| {
            let asked: Vec<&str> = path.trim_matches('/').split('/').collect();
            *of == service
                && *by == method
                && parts(template).count() == asked.len()
                && parts(template).zip(&asked).all(|(part, asked)| part == "{}" || part == *asked)
        })
        .map(|(.., operation)| *operation)
}
