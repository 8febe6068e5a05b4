//! A runtime of the harness's own. Its servers must answer while a test blocks its thread, and they must
//! not be timed by a `#[tokio::test]` that has one thread for both sides of a conversation.

use std::{future::Future, io, sync::LazyLock};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Context, Error, Result};

static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).thread_name("harness").enable_all().build()
});

/// The runtime on which the harness's servers live, for as long as the test process does.
pub fn handle() -> Result<&'static Handle> {
    match &*RUNTIME {
        Ok(runtime) => Ok(runtime.handle()),
        Err(error) => Err(Error::new(format!("can't start the harness's runtime: {error}"))),
    }
}

/// Runs a future to its end from a thread that has no runtime, such as a benchmark's.
pub fn block_on<F: Future>(future: F) -> Result<F::Output> {
    Ok(handle()?.block_on(future))
}

/// Runs work that blocks, such as an installation, without holding up the caller's runtime.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    handle()?.spawn_blocking(work).await.context(|| "blocking work was cut short".to_owned())?
}
