//! The little HTTP/1.1 that the harness speaks: one server shape for all of its servers, one request
//! function. Bodies are whole (no AWS call in the tests is larger than a few hundred kilobytes).

use std::{
    fmt,
    future::Future,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::{
    background,
    error::{Context, Error, Result},
};

/// How long [`send`] waits for an answer: longer than any function under test may run.
const PATIENCE: Duration = Duration::from_mins(2);

/// Said by a handler in place of an answer: the client's connection ends with a TCP reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection reset on purpose")
    }
}

impl std::error::Error for Reset {}

/// What a handler answers.
pub type Reply = std::result::Result<Response<Bytes>, Reset>;

/// A server on a free port of 127.0.0.1. Dropped, it closes its port and every connection.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves HTTP/1.1 with keep-alive on a free port of 127.0.0.1. The handler's future is dropped when its
/// client goes away.
pub fn serve<H, F>(handler: H) -> Result<Server>
where
    H: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let runtime = background::handle()?;
    let _entered = runtime.enter();
    let listener =
        StdListener::bind((Ipv4Addr::LOCALHOST, 0)).context(|| "can't listen on 127.0.0.1".into())?;
    listener.set_nonblocking(true).context(|| "can't use a listener".into())?;
    let listener = TcpListener::from_std(listener).context(|| "can't use a listener".into())?;
    let address = listener.local_addr().context(|| "a listener without an address".into())?;
    let handler = Arc::new(handler);
    let task = runtime.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        connections.spawn(converse(stream, Arc::clone(&handler)));
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    });
    Ok(Server { address, task })
}

async fn converse<H, F>(stream: TcpStream, handler: Arc<H>)
where
    H: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let Ok((stream, twin)) = twins(stream) else { return };
    let service = service_fn(|request: Request<Incoming>| {
        let handler = Arc::clone(&handler);
        let twin = &twin;
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Reset)?.to_bytes();
            match handler(Request::from_parts(head, body)).await {
                Ok(reply) => Ok(reply.map(Full::new)),
                Err(reset) => {
                    // Without lingering, closing sends RST in place of FIN.
                    let _ = twin.set_zero_linger();
                    Err(reset)
                }
            }
        }
    });
    // A client that breaks off, as a killed process does, is nothing to report.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Two handles of one socket: hyper owns the first, the second sets options on it.
fn twins(stream: TcpStream) -> std::io::Result<(TcpStream, TcpStream)> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let twin = TcpStream::from_std(stream.try_clone()?)?;
    Ok((TcpStream::from_std(stream)?, twin))
}

/// Sends a request on a connection of its own and reads the whole answer. `base` is `http://HOST:PORT`;
/// the request's URI is the path and query. A `Host` header that is set already is kept.
pub async fn send(base: &str, mut request: Request<Bytes>) -> Result<Response<Bytes>> {
    let uri: Uri = base.parse().context(|| format!("`{base}` is no URL"))?;
    let authority = uri.authority().context(|| format!("`{base}` has no host"))?.clone();
    let what = || format!("can't reach `{authority}`");
    let port = authority.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((authority.host(), port)).await.context(what)?;
    stream.set_nodelay(true).context(what)?;
    if !request.headers().contains_key(header::HOST) {
        let host = HeaderValue::from_str(authority.as_str()).context(what)?;
        request.headers_mut().insert(header::HOST, host);
    }
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.context(what)?;
    let answer = async {
        let answer = sender.send_request(request.map(Full::new)).await.context(what)?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.context(|| format!("`{authority}` broke off its answer"))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    let both = async {
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            // The connection may end first, with the answer read already or with none to come.
            _ = connection => answer.await,
        }
    };
    match timeout(PATIENCE, both).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::new(format!("`{authority}` did not answer within {} s", PATIENCE.as_secs()))),
    }
}

/// An answer with a JSON body.
pub fn json(status: u16, body: &serde_json::Value) -> Response<Bytes> {
    answer(status, "application/json", body.to_string())
}

/// An answer with a body of the given content type. A status that is none becomes 500.
pub fn answer(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
