//! What redress's end-to-end tests are made of: processes, emulators, a Lambda Runtime API, a proxy that
//! holds calls.

pub mod applier;
pub mod aws_call;
pub mod background;
pub mod cognito_local;
pub mod deployment;
pub mod error;
pub mod fuzz;
pub mod hold_proxy;
pub mod http1;
pub mod microburst;
pub mod ministack;
pub mod moto;
pub mod node;
pub mod process;
pub mod runtime_api;
pub mod scene;
pub mod sqs_poller;
pub mod stream;
pub mod subject;
pub mod terraform;
pub mod trial;
pub mod venv;
