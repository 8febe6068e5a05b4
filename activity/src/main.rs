//! The Lambda function behind a user pool's triggers: packed as `bootstrap`.

use std::{process::ExitCode, sync::Arc};

use lambda_runtime::{LambdaEvent, service_fn};
use redress_activity::recorder::Recorder;
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Made before the first event: Lambda lends a function more processor while it starts.
    let recorder = Arc::new(Recorder::from_environment());
    let handler = service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let recorder = Arc::clone(&recorder);
        async move {
            recorder.observe(event.payload.get()).await;
            Ok::<_, lambda_runtime::Error>(event.payload)
        }
    });
    match lambda_runtime::run(handler).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
