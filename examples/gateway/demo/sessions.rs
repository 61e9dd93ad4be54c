//! rmcp's own in-memory sessions, which also tell a tool which stream it answers on.
//!
//! rmcp can close the stream of a call early ([`LocalSessionHandle::close_sse_stream`]), but it
//! wants the number of that stream and hands the number to nobody. So [`Sessions`] opens the
//! stream itself, in the way that rmcp does, and leaves a [`CallStream`] with the request.
//! Everything else is rmcp's: ids, priming events, the log of the last events, replay.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::model::{ClientJsonRpcMessage, GetExtensions, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionHandle, LocalSessionManager, LocalSessionManagerError, SessionError,
};
use rmcp::transport::streamable_http_server::session::{
    ServerSseMessage, SessionId, SessionManager,
};
use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use super::gates::{Gate, Gates};

#[derive(Debug, Default)]
pub(super) struct Sessions {
    inner: LocalSessionManager,
    /// The streams that were hung up on and that their client has not resumed yet.
    hung_up: Gates,
    /// What tells the tools of a session, by being dropped, that it is over.
    alive: Mutex<HashMap<SessionId, watch::Sender<()>>>,
}

/// The SSE stream on which a `tools/call` of a session is answered; in the request's extensions.
#[derive(Debug, Clone)]
pub(super) struct CallStream {
    session: LocalSessionHandle,
    number: u64,
    hung_up: Gates,
    alive: watch::Receiver<()>,
}

/// A stream that was closed early, until its client comes back for the rest.
#[derive(Debug)]
pub(super) struct HungUp(Option<Gate>);

impl CallStream {
    /// Sends an id and `retry`, then ends the response without an answer.
    ///
    /// # Errors
    ///
    /// The session ended meanwhile.
    pub(super) async fn hang_up(&self, retry: Duration) -> Result<HungUp, SessionError> {
        // Before the stream closes: the client may be back sooner than this task goes on.
        let resumed = self
            .hung_up
            .close(gate_name(self.session.id(), self.number));
        self.session
            .close_sse_stream(self.number, Some(retry))
            .await?;
        Ok(HungUp(resumed))
    }

    /// Waits until the session is over: deleted, idle for too long, or shut down.
    ///
    /// rmcp cancels a request when its client does, but not when the session ends under it.
    pub(super) async fn session_over(&self) {
        // Nothing is ever sent.
        let _ = self.alive.clone().changed().await;
    }
}

impl HungUp {
    /// Waits for the GET with this stream's `Last-Event-ID`.
    ///
    /// An answer that is ready before that GET is lost: rmcp 3.11 forgets a stream once it is
    /// answered and replays an empty one, for which its own client would retry for ever.
    pub(super) async fn resumed(self) {
        if let Some(gate) = self.0 {
            gate.opened().await;
        }
    }
}

impl Sessions {
    fn alive(&self) -> MutexGuard<'_, HashMap<SessionId, watch::Sender<()>>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session id is a UUID, so the parts cannot run into each other.
fn gate_name(session: &SessionId, stream: u64) -> String {
    format!("{session}/{stream}")
}

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_stream(
        &self,
        id: &SessionId,
        mut message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let session = self.inner.sessions.read().await.get(id).cloned();
        let session = session.ok_or_else(|| Self::Error::SessionNotFound(id.clone()))?;
        let stream = session.establish_request_wise_channel().await?;
        let alive = self.alive().get(id).map(watch::Sender::subscribe);
        if let (ClientJsonRpcMessage::Request(request), Some(number), Some(alive)) =
            (&mut message, stream.http_request_id, alive)
        {
            request.request.extensions_mut().insert(CallStream {
                session: session.clone(),
                number,
                hung_up: self.hung_up.clone(),
                alive,
            });
        }
        session
            .push_message(message, stream.http_request_id)
            .await?;
        Ok(ReceiverStream::new(stream.inner))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        // rmcp's event ids are `<event>/<stream>`; those of the GET stream have no second part.
        let stream = last_event_id
            .split_once('/')
            .map(|(_, stream)| stream.to_owned());
        let replay = self.inner.resume(id, last_event_id).await?;
        if let Some(stream) = stream {
            self.hung_up.open(&format!("{id}/{stream}"));
        }
        Ok(replay)
    }

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        let (id, transport) = self.inner.create_session().await?;
        self.alive().insert(id.clone(), watch::Sender::default());
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.inner.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.inner.has_session(id).await
    }

    /// Called for a DELETE, and whenever the task of a session ends.
    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.alive().remove(id);
        self.inner.close_session(id).await
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Self::Error> {
        self.inner.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.inner.create_standalone_stream(id).await
    }
}
