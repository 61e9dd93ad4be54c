//! The tools, and what each does in either kind of revision.

use std::sync::Arc;
use std::time::Duration;

use rmcp::handler::server::tool::InputResponses;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, ElicitRequest,
    ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, ErrorData,
    Implementation, InputRequest, InputRequiredResult, ProgressNotificationParam, ProtocolVersion,
    ResourceUpdatedNotificationParam, ServerCapabilities, ServerConfig, SubscribeRequestParams,
    SubscriptionFilter, UnsubscribeRequestParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler, tool, tool_handler, tool_router};
use tokio::sync::{Mutex, broadcast};

use super::arguments::{Ask, Count, Echo, HangUp, Notify, Release, Reply};
use super::gates::Gates;
use super::sessions::CallStream;

/// How many updates a slow 2026-07-28 listener may fall behind before it misses the oldest.
const LISTEN_BACKLOG: usize = 64;

/// What the sessions, and the requests of no session, have in common.
#[derive(Debug)]
pub(super) struct Shared {
    gates: Gates,
    /// URIs whose update the 2026-07-28 listens are to hear about.
    updates: broadcast::Sender<String>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            gates: Gates::default(),
            updates: broadcast::Sender::new(LISTEN_BACKLOG),
        }
    }
}

/// The server of one session, or of one request in 2026-07-28.
#[derive(Debug)]
pub(super) struct Demo {
    shared: Arc<Shared>,
    /// Subscribed before rmcp acknowledges a listen, so that no update falls in between.
    updates: Mutex<broadcast::Receiver<String>>,
}

impl Demo {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let updates = Mutex::new(shared.updates.subscribe());
        Self { shared, updates }
    }
}

#[tool_router]
impl Demo {
    #[tool(description = "Answers with the text it was given")]
    async fn echo(&self, Parameters(Echo { text }): Parameters<Echo>) -> String {
        text
    }

    #[tool(description = "Counts, with a progress notification for each step")]
    async fn count(
        &self,
        Parameters(Count {
            steps,
            delay_ms,
            gate,
        }): Parameters<Count>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, String> {
        let gate = match gate {
            Some(name) => Some(self.shared.gates.close(name).ok_or("the gate is in use")?),
            None => None,
        };
        let counted = async {
            for step in 1..=steps {
                if delay_ms > 0 {
                    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                }
                report(&context, step, steps).await;
                if let (1, Some(gate)) = (step, &gate) {
                    gate.opened().await;
                }
            }
            format!("counted to {steps}")
        };
        unless_cancelled(&context, counted).await
    }

    #[tool(description = "Lets a count go on that waits at the gate")]
    async fn release(
        &self,
        Parameters(Release { gate }): Parameters<Release>,
    ) -> Result<String, String> {
        if self.shared.gates.open(&gate) {
            Ok(format!("released {gate}"))
        } else {
            Err(format!("nobody waits at {gate}"))
        }
    }

    #[tool(description = "Sends notifications/resources/updated a moment after the answer")]
    async fn notify(
        &self,
        Parameters(Notify { uri, delay_ms }): Parameters<Notify>,
        context: RequestContext<RoleServer>,
    ) -> String {
        let answer = format!("{uri} will be reported");
        let shared = self.shared.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            // Both fail only for want of somebody to tell.
            let _ = shared.updates.send(uri.clone());
            // A 2026-07-28 request has no stream but its own, and that one has ended.
            if !is_stateless(&context) {
                let update = ResourceUpdatedNotificationParam::new(uri);
                let _ = context.peer.notify_resource_updated(update).await;
            }
        });
        answer
    }

    #[tool(description = "Asks the user of the calling client, and answers with the reply")]
    async fn ask(
        &self,
        Parameters(Ask { question }): Parameters<Ask>,
        InputResponses(responses): InputResponses,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        const ROUND: &str = "reply";

        let capabilities = context.client_capabilities().unwrap_or_default();
        if capabilities.elicitation.is_none() {
            let required = ClientCapabilities::builder().enable_elicitation().build();
            return Err(ErrorData::missing_required_client_capability(required));
        }
        let schema = ElicitationSchema::from_type::<Reply>()
            .map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        let form = ElicitRequestParams::FormElicitationParams {
            meta: None,
            message: question,
            requested_schema: schema,
        };

        let reply = if !is_stateless(&context) {
            let reply = context.peer.create_elicitation(form).await;
            reply.map_err(|error| ErrorData::internal_error(error.to_string(), None))?
        } else if let Some(reply) = responses.and_then(|mut responses| responses.remove(ROUND)) {
            serde_json::from_value(reply)
                .map_err(|error| ErrorData::invalid_params(error.to_string(), None))?
        } else {
            // No requests to the client in 2026-07-28: it calls again, with the reply.
            let question = InputRequest::Elicitation(ElicitRequest::new(form));
            let round = [(ROUND.to_owned(), question)].into_iter().collect();
            return Ok(InputRequiredResult::from_input_requests(round).into());
        };
        Ok(replied(reply).into())
    }

    #[tool(description = "Closes its response early, and answers once the client has resumed it")]
    async fn hang_up(
        &self,
        Parameters(HangUp { text, retry_ms }): Parameters<HangUp>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, String> {
        let stream = context
            .extensions
            .get::<CallStream>()
            .ok_or("a stream can be resumed only in a session")?;
        let hung_up = stream.hang_up(Duration::from_millis(retry_ms)).await;
        let hung_up = hung_up.map_err(|error| error.to_string())?;
        unless_cancelled(&context, hung_up.resumed()).await?;
        Ok(text)
    }
}

#[tool_handler]
impl ServerHandler for Demo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(
            ServerCapabilities::builder()
                .enable_tools()
                .enable_resources()
                .enable_resources_subscribe()
                .build(),
        )
        .with_server_info(Implementation::new(
            "shadowcat-demo",
            env!("CARGO_PKG_VERSION"),
        ))
        .with_instructions("One tool for each thing that a proxy can get wrong.")
    }

    /// `notify` tells its own session whether or not it subscribed, so there is nothing to keep.
    async fn subscribe(
        &self,
        _: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.supported_by(&self.get_info().capabilities))
    }

    /// Serves one 2026-07-28 `subscriptions/listen`, until its client closes it.
    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut updates = self.updates.lock().await;
        loop {
            let uri = tokio::select! {
                update = updates.recv() => match update {
                    Ok(uri) => uri,
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                () = context.cancelled() => return Ok(()),
            };
            // The sink turns away what this client did not ask for.
            let _ = context.sink().notify_resource_updated(uri).await;
        }
    }
}

/// Sends a progress notification, if the request asks for them.
async fn report(context: &RequestContext<RoleServer>, step: u32, steps: u32) {
    if let Some(token) = context.meta.get_progress_token() {
        let progress = ProgressNotificationParam::new(token, step.into())
            .with_total(steps.into())
            .with_message(format!("step {step} of {steps}"));
        // Fails only when nobody is left to tell, and then the request is about to be cancelled.
        let _ = context.peer.notify_progress(progress).await;
    }
}

/// Gives up when the client cancels the request, when its session ends, and in 2026-07-28 when the
/// response is dropped.
async fn unless_cancelled<T>(
    context: &RequestContext<RoleServer>,
    work: impl Future<Output = T>,
) -> Result<T, String> {
    let session_over = async {
        match context.extensions.get::<CallStream>() {
            Some(stream) => stream.session_over().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = context.ct.cancelled() => Err("cancelled".to_owned()),
        () = session_over => Err("the session is over".to_owned()),
    }
}

/// Whether the request is of a revision without sessions, from 2026-07-28 on.
fn is_stateless(context: &RequestContext<RoleServer>) -> bool {
    context
        .protocol_version()
        .is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

fn replied(reply: ElicitResult) -> CallToolResult {
    let refused = match reply.action {
        ElicitationAction::Accept => {
            match serde_json::from_value::<Reply>(reply.content.unwrap_or_default()) {
                Ok(Reply { answer }) => {
                    return CallToolResult::success(vec![ContentBlock::text(answer)]);
                }
                Err(error) => format!("the reply is not what the form asks for: {error}"),
            }
        }
        ElicitationAction::Decline => "the user declined".to_owned(),
        _ => "the user did not choose".to_owned(),
    };
    CallToolResult::error(vec![ContentBlock::text(refused)])
}
