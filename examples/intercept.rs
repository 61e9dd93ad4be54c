//! Four interceptors around a server that streams: one denies a tool, one hides a field inside an event, one
//! answers in the server's place, and one holds a call until somebody lets it go.
//!
//! ```sh
//! cargo run --example intercept
//! ```

use std::{convert::Infallible, error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use shadowcat::{
    body::RequestBody,
    intercept::{
        Denial, InterceptLayer, Interest, Links, Pause, PauseHandle, Redact, ToolFilter, Verdict,
        sync_fn,
    },
    message::{Message, MessageLayer},
    sse::Event,
};
use tokio::io::{AsyncBufReadExt, BufReader};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

/// A server of some tools: says that it works, then what came of it, with more than anybody should know.
async fn serve(
    request: Request<RequestBody<Full<Bytes>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let message = request.extensions().get::<Message>();
    let peek = message.and_then(|message| message.peek().ok());
    let call = peek.and_then(|peek| peek.single());
    let id = call.as_ref().and_then(|call| call.id_raw()).unwrap_or("0");
    let name = call
        .as_ref()
        .and_then(|call| call.name())
        .unwrap_or_default();
    println!("  (the server runs {name:?})");
    let working = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":9007199254740993}}"#;
    let result = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"structuredContent":{{"rows":3,"password":"hunter2"}}}}}}"#
    );
    let events = [working.to_owned(), result].map(|data| Event::message(data).encode());
    let response = Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .body(Full::from(events.concat()));
    Ok(response.unwrap_or_default())
}

/// The interceptors. What goes to the server meets them in this order, what comes back in the other.
fn interceptors() -> Result<InterceptLayer<impl Links>, Box<dyn Error + Send + Sync>> {
    // First, so that nothing is held that would not be allowed anyway.
    let tools = ToolFilter::deny(["drop_*"]).with_denial(Denial::tool_result(
        "Tables are dropped by people, not by models.",
    ));
    // The server need not know what time it is here.
    let clock = sync_fn(Interest::requests("tools/call"), |_, message| match message
        .envelope()
        .name()
        .as_deref()
    {
        Some("clock") => Verdict::Respond(r#"{"content":[{"type":"text","text":"late"}]}"#.into()),
        _ => Verdict::Continue,
    });
    let careful = sync_fn(Interest::requests("tools/call"), |_, message| match message
        .envelope()
        .name()
        .as_deref()
    {
        Some("transfer") => Pause::new().with_deadline(Duration::from_secs(60)).into(),
        _ => Verdict::Continue,
    });
    // Last, so that what the others see has been through it.
    let secrets = Redact::new(Interest::responses("tools/call"))
        .add_pointer("/result/structuredContent/password")?;
    Ok(InterceptLayer::new((tools, clock, careful, secrets)))
}

/// Calls a tool, and shows what a client gets.
async fn call<S, B>(service: &S, tool: &str) -> Result<(), Box<dyn Error + Send + Sync>>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    println!("calling {tool:?}");
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":"{tool}-1","method":"tools/call","params":{{"name":"{tool}"}}}}"#
    );
    let request = Request::post("/mcp")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body))?;
    let Ok(response) = service.clone().oneshot(request).await;
    let body = response.into_body().collect().await.map_err(Into::into)?;
    for line in String::from_utf8_lossy(&body.to_bytes()).lines() {
        println!("  {line}");
    }
    Ok(())
}

/// Lets go of what is held, when a line is entered. An admin page would do the same.
async fn operate(pauses: PauseHandle) -> Result<(), Box<dyn Error + Send + Sync>> {
    let held = loop {
        let changed = pauses.changed();
        if let Some(held) = pauses.list().into_iter().next() {
            break held;
        }
        changed.await;
    };
    println!("  held: {}", held.preview());
    println!("  press Enter to let it go, or wait a minute to have it refused");
    let mut line = String::new();
    BufReader::new(tokio::io::stdin())
        .read_line(&mut line)
        .await?;
    pauses.release(held.id())?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let intercept = interceptors()?;
    let handle = intercept.handle();
    let service = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(intercept)
        .service(service_fn(serve));

    call(&service, "search").await?;
    call(&service, "drop_table").await?;
    call(&service, "clock").await?;
    tokio::try_join!(call(&service, "transfer"), operate(handle.pauses()))?;

    let stats = handle.stats();
    println!(
        "{} replaced, {} refused, {} answered, {} held",
        stats.replaced_total, stats.refused_total, stats.responded_total, stats.paused_total
    );
    // Nobody has seen it.
    assert_eq!((stats.replaced_total, stats.refused_total), (2, 1));
    Ok(())
}
