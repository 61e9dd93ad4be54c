//! An MCP gateway, and the whole stack of this crate in one place.
//!
//! ```sh
//! cargo run --release --example gateway
//! cargo run --release --example gateway -- --upstream http://127.0.0.1:3000/mcp --listen 127.0.0.1:0
//! cargo run --release --example gateway -- --token "$TOKEN=alice:tools"
//! ```
//!
//! Without `--upstream` it proxies to a demo MCP server in its own process; `demo.rs` lists that
//! server's tools. `--help` lists the flags. Stops cleanly on SIGTERM and Ctrl-C: the clients of
//! streams that can be resumed are told to come back, and other calls get their answers. A second
//! signal stops it at once.

mod args;
mod auth;
mod demo;
mod serve;
mod stack;

use std::{
    convert::Infallible,
    error::Error,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use args::Args;
use bytes::Bytes;
use clap::Parser;
use http::{Request, Response, Uri};
use http_body::Body;
use hyper::body::Incoming;
use shadowcat::{body::RequestBody, origin::OriginLayer};
use tokio::{net::TcpListener, runtime, sync::watch};
use tower::{Layer, Service};
use tower_http::cors::CorsLayer;

/// When clients of open streams come back after a stop, at the earliest.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(tracing::Level::INFO)
        .init();
    match args.check().map_err(Into::into).and_then(|()| start(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<()> {
    let mut runtime = runtime::Builder::new_multi_thread();
    if let Some(workers) = args.workers {
        runtime.worker_threads(workers.get());
    }
    runtime.enable_all().build()?.block_on(run(args))
}

async fn run(args: &Args) -> Result<()> {
    // Listened for before anything is served, so that no signal is missed.
    let (stop, stopped) = watch::channel(false);
    let signals = signals(stop)?;

    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        format!(
            "cannot listen on {}: {error}; choose another address with --listen",
            args.listen
        )
    })?;
    let addr = listener.local_addr()?;

    let (upstream, demo) = match args.upstream.first() {
        Some(upstream) => (upstream.clone(), None),
        None => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let url = format!("http://{}/mcp", listener.local_addr()?);
            // Stopped last, so that calls that are under way get their answers.
            let (stop, stopped) = watch::channel(false);
            let demo = tokio::spawn(demo::serve(listener, until(stopped)));
            (url.parse::<Uri>()?, Some((demo, stop)))
        }
    };
    let front = Front {
        listener,
        cors: args.cors()?,
        origin: args.origin(addr)?,
        guard: args.auth.guard(addr)?,
        options: serve::Options {
            keep_alive: args.keep_alive,
            grace: args.shutdown_grace,
        },
    };
    let is_guarded = front.guard.is_some();
    let share = args.share()?;
    let (resumable, streams) = stack::resumable(&upstream, args.stack())
        .map_err(|error| format!("--upstream {upstream}: {error}"))?;
    // Said once nothing can go wrong any more.
    let begin = || {
        say(&format!("listening on http://{addr}/mcp"));
        greet(
            &format!("http://{addr}"),
            &upstream,
            demo.is_some(),
            is_guarded,
        );
        tokio::spawn(signals);
    };
    begin();
    let stop = async move {
        until(stopped).await;
        // Their clients are told to come back, to whoever listens here by then. Without this, a
        // stream that has no end would use the whole grace period up.
        streams.end_all(COME_BACK_AFTER);
    };
    match share.layer() {
        None => front.serve(resumable, stop).await?,
        Some(limits) => front.serve(limits.layer(resumable), stop).await?,
    }
    if let Some((demo, stop)) = demo {
        stop.send_replace(true);
        demo.await??;
    }
    say("stopped");
    Ok(())
}

/// What is in front of the upstream, whatever is limited there.
struct Front {
    listener: TcpListener,
    cors: Option<CorsLayer>,
    origin: OriginLayer,
    guard: Option<auth::Guard>,
    options: serve::Options,
}

impl Front {
    async fn serve<S, B>(self, upstream: S, stop: impl Future<Output = ()>) -> io::Result<()>
    where
        S: Service<Request<RequestBody<Incoming>>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        B: Body<Data = Bytes, Error: Error + Send + Sync> + Send + 'static,
    {
        let Self {
            listener,
            cors,
            origin,
            guard,
            options,
        } = self;
        let Some(auth::Guard {
            auth,
            signed,
            scopes,
            metadata,
        }) = guard
        else {
            let routes = stack::Routes::new(stack::mcp(upstream, cors, origin));
            return serve::serve(listener, routes, options, stop).await;
        };
        if let Some(signed) = signed {
            // Meanwhile it can be called: the first token would wait for them too.
            tokio::spawn(async move {
                if let Err(error) = signed.fetch_keys().await {
                    tracing::warn!(%error, "there are no keys yet to verify tokens with");
                }
            });
        }
        let is_read_by_pages = cors.is_some();
        let routes = stack::Routes::new(stack::guarded(upstream, cors, origin, auth, scopes))
            .with_metadata(metadata)
            .with_preflights(!is_read_by_pages);
        serve::serve(listener, routes, options, stop).await
    }
}

/// What there is, and a first command to try.
fn greet(origin: &str, upstream: &Uri, is_demo: bool, is_guarded: bool) {
    say(&format!("health at {origin}/healthz"));
    if !is_demo {
        say(&format!("in front of {upstream}"));
        return;
    }
    // Not the token itself: what is printed is kept.
    let token = if is_guarded {
        "-H \"Authorization: Bearer $TOKEN\" \\\n    "
    } else {
        ""
    };
    // A request of 2026-07-28 stands alone, so one command shows a stream without a handshake.
    say(&format!(
        r#"in front of a demo MCP server at {upstream}

Try a tool that reports its progress while it runs:

  curl -sN {origin}/mcp \
    {token}-H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
    -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/call' -H 'Mcp-Name: count' \
    -d '{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"count",
      "arguments":{{"steps":3,"delay_ms":500}},"_meta":{{"progressToken":"p",
      "io.modelcontextprotocol/protocolVersion":"2026-07-28",
      "io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}'

Stop with Ctrl-C or SIGTERM."#
    ));
}

/// Prints a line. Whoever started this may have stopped reading, which is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Completes once `stop` was sent.
async fn until(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it everything that could go on.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Turns the first SIGTERM or Ctrl-C into a clean stop, and the second into an end at once.
fn signals(stop: watch::Sender<bool>) -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for is_second in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if is_second {
                std::process::exit(1);
            }
            eprintln!("stopping; once more stops at once");
            stop.send_replace(true);
        }
    })
}
