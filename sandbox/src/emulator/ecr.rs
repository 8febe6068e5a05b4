//! Where winterbaume's ECR is not Amazon's: it forgets the
//! [exclusion filters](https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html) of tag
//! mutability.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use super::locked;
use super::others::Others;
use super::wire::Request;

const FILTERS: &str = "imageTagMutabilityExclusionFilters";

/// The exclusion filters of one account's repositories, by Region and name.
#[derive(Default)]
pub(super) struct Repositories(Mutex<HashMap<(String, String), Value>>);

impl Repositories {
    pub(super) async fn answer(
        &self,
        others: &Others,
        request: &Request,
        operation: &str,
    ) -> Response<Bytes> {
        let mut response = others.pass(request).await;
        if !response.status().is_success() {
            return response;
        }
        let key = |name: &Value| (request.region.clone(), name.as_str().unwrap_or_default().to_owned());
        match operation {
            "CreateRepository" | "PutImageTagMutability" => {
                let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                locked(&self.0).insert(key(&input["repositoryName"]), input[FILTERS].clone());
            }
            "DescribeRepositories" => {
                let mut answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
                for repository in answer["repositories"].as_array_mut().into_iter().flatten() {
                    let known = locked(&self.0).get(&key(&repository["repositoryName"])).cloned();
                    if let Some(filters) = known.filter(Value::is_array) {
                        repository[FILTERS] = filters;
                    }
                }
                *response.body_mut() = answer.to_string().into();
            }
            _ => {}
        }
        response
    }
}
