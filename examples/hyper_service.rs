//! Layers on a hyper server, without axum: a service that streams events, served and called.
//!
//! ```sh
//! cargo run --example hyper_service
//! ```

use std::{convert::Infallible, error::Error, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use shadowcat::{
    body::RequestBody,
    jsonrpc::ErrorObject,
    message::{Message, MessageLayer},
    peer::PeerAddr,
    sse::{Decoder, Event, Frame},
};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};

/// Any service will do. What it needs to know about the request is in the extensions.
async fn answer(
    request: Request<RequestBody<Incoming>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let peer = request.extensions().get::<PeerAddr>();
    let message = request.extensions().get::<Message>();
    let peek = message.and_then(|message| message.peek().ok());
    let call = peek.and_then(|peek| peek.single());
    let json = match &call {
        Some(call) => format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{{"method":"{}","from":"{}"}}}}"#,
            call.id_raw().unwrap_or("0"),
            call.method().unwrap_or_default().escape_default(),
            peer.map_or("nowhere".into(), |peer| peer.ip().to_string()),
        )
        .into(),
        None => ErrorObject::new(-32700, "not a message").to_response(None),
    };
    let response = Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .body(Full::new(Event::message(json).encode()));
    Ok(response.unwrap_or_default())
}

/// The layers around it, outermost first.
async fn serve(listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        let service = ServiceBuilder::new()
            // Whoever accepts knows the peer, and says so.
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(PeerAddr::new(peer));
                request
            })
            // Reads the body, so it stands outside of what wants to know the message.
            .layer(MessageLayer::new())
            .service(service_fn(answer));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("connection ended: {error}");
            }
        });
    }
}

async fn call(addr: SocketAddr) -> Result<Vec<String>, Box<dyn Error + Send + Sync>> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = Request::post(format!("http://{addr}/mcp"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#))?;
    let mut body = client.request(request).await?.into_body();
    let mut decoder = Decoder::new();
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(mut chunk) = frame?.into_data() else {
            continue;
        };
        while let Some(frame) = decoder.decode(&mut chunk)? {
            if let Frame::Event(event) = frame {
                let data = event.data().unwrap_or_default();
                seen.push(String::from_utf8_lossy(&data).into_owned());
            }
        }
    }
    Ok(seen)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(serve(listener));
    let seen = call(addr).await?;
    assert_eq!(
        seen,
        [r#"{"jsonrpc":"2.0","id":"a","result":{"method":"ping","from":"127.0.0.1"}}"#]
    );
    println!("{}", seen.join("\n"));
    Ok(())
}
