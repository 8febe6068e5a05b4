//! A small HTTP/1.1 server around a function, for services that also run in process.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// The most bytes of a request's body; a longer one is answered with 413. Above what any AWS API takes
/// that redress calls.
pub const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// Answers every connection that `listener` accepts with `handler`, until the future is dropped, which
/// ends the open connections as well. The handler runs on a thread where it may block.
///
/// # Errors
/// The listener can no longer accept connections.
pub async fn serve<H, B>(listener: TcpListener, handler: H) -> io::Result<()>
where
    H: Fn(Request<Bytes>) -> Response<B> + Send + Sync + 'static,
    B: Into<Bytes> + Send + 'static,
{
    let handler = Arc::new(handler);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        // Small answers are not to wait for more to send; where that can't be had they wait.
        let _ = stream.set_nodelay(true);
        let handler = handler.clone();
        let service = service_fn(move |request| answer(handler.clone(), request));
        connections.spawn(async move {
            // A client that goes away in the middle is the client's business.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer<H, B>(
    handler: Arc<H>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible>
where
    H: Fn(Request<Bytes>) -> Response<B> + Send + Sync + 'static,
    B: Into<Bytes> + Send + 'static,
{
    let refuse = |status| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        Ok(response)
    };
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let request = Request::from_parts(parts, body.to_bytes());
    match tokio::task::spawn_blocking(move || handler(request)).await {
        Ok(response) => Ok(response.map(|body| Full::new(body.into()))),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// A server in the background of a test; dropping it ends it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Serves `handler` on a free port of 127.0.0.1. Needs a running tokio runtime.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start<H, B>(handler: H) -> io::Result<Self>
    where
        H: Fn(Request<Bytes>) -> Response<B> + Send + Sync + 'static,
        B: Into<Bytes> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, task: tokio::spawn(serve(listener, handler)) })
    }

    /// Where it listens, as an SDK's endpoint: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
