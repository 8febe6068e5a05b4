//! A Security Hub over TCP, for tests of other processes; see `redress_sandbox::securityhub`.

use std::net::SocketAddr;
use std::process::ExitCode;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use redress_sandbox::securityhub::{SecurityHub, Settings, Throttle};
use redress_sandbox::serve;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const USAGE: &str = "usage: securityhub-server [OPTIONS]

  --port PORT             port of 127.0.0.1 to listen on; 0, the default, picks a free one
  --account ACCOUNT       account of callers whose access key is not an account id
  --require-enabled       refuse calls of accounts that did not call EnableSecurityHub
  --allow-contains        let CONTAINS and NOT_CONTAINS filter findings
  --throttle              limit the rate of calls as AWS documents it
  --events-endpoint URL   post each event as JSON to this http:// address, in order

Prints `listening on http://127.0.0.1:PORT` when ready.";

#[derive(Default)]
struct Options {
    port: u16,
    settings: Settings,
    throttle: bool,
    events: Option<http::Uri>,
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--port" => options.port = value()?.parse().map_err(|_| "`--port` needs a port".to_owned())?,
            "--account" => options.settings.default_account = value()?,
            "--require-enabled" => options.settings.require_enabled = true,
            "--allow-contains" => options.settings.allow_contains = true,
            "--throttle" => options.throttle = true,
            "--events-endpoint" => {
                let uri: http::Uri =
                    value()?.parse().map_err(|error| format!("`--events-endpoint`: {error}"))?;
                if uri.scheme_str() != Some("http") || uri.authority().is_none() {
                    return Err("`--events-endpoint` needs an http:// address".to_owned());
                }
                options.events = Some(uri);
            }
            _ => return Err(format!("unknown argument `{arg}`\n\n{USAGE}")),
        }
    }
    Ok(options)
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match options(args.into_iter()) {
        Err(error) => {
            eprintln!("securityhub-server: {error}");
            ExitCode::from(2)
        }
        Ok(options) => match run(options).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("securityhub-server: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

async fn run(options: Options) -> std::io::Result<()> {
    let hub = SecurityHub::with_settings(options.settings);
    if options.throttle {
        hub.set_throttle(Some(Throttle::documented()));
    }
    if let Some(endpoint) = options.events {
        let (events, mut queue) = mpsc::unbounded_channel::<Value>();
        hub.on_event(move |event| {
            // The queue lives as long as the process.
            let _ = events.send(event.clone());
        });
        tokio::spawn(async move {
            while let Some(event) = queue.recv().await {
                if let Err(error) = post(&endpoint, &event).await {
                    eprintln!("securityhub-server: an event was not delivered to {endpoint}: {error}");
                }
            }
        });
    }
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], options.port))).await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve::serve(listener, move |request: Request<Bytes>| hub.handle_request(&request)).await
}

/// Posts an event.
async fn post(endpoint: &http::Uri, event: &Value) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let authority = endpoint.authority().ok_or("no host")?;
    let address = (authority.host(), authority.port_u16().unwrap_or(80));
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let path = endpoint.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let request = Request::post(path)
        .header(http::header::HOST, authority.as_str())
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(event.to_string())))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    connection.abort();
    if status.is_success() { Ok(()) } else { Err(format!("answered {status}").into()) }
}
