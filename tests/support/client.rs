//! rmcp's client as its users get it, with a handler that keeps what the server says unasked.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams,
    ElicitResult, ElicitationAction, ErrorData, Implementation, ProgressNotificationParam,
    ProtocolVersion, ResourceUpdatedNotificationParam,
};
use rmcp::service::{NotificationContext, RequestContext, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::FixedInterval;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

/// A connected client, and what it heard in the order of arrival.
///
/// rmcp starts a task for each message from the server. On the one thread of `#[tokio::test]` they
/// run in the order in which they were started, so that order is the one on the wire.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) service: RunningService<RoleClient, Handler>,
    // Behind a lock so that a test can listen while it calls.
    heard: Mutex<mpsc::UnboundedReceiver<Heard>>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// `notifications/progress`, by its message.
    Progress(String),
    /// `notifications/resources/updated`, by its URI.
    Updated(String),
}

/// Answers every question with `the answer to <question>`.
#[derive(Debug)]
pub(crate) struct Handler {
    protocol_version: ProtocolVersion,
    heard: mpsc::UnboundedSender<Heard>,
}

impl Client {
    /// Connects with the handshake of 2025-11-25: a session, and its GET stream.
    pub(crate) async fn connect(url: &str) -> Self {
        Self::start(
            url,
            ProtocolVersion::V_2025_11_25,
            ClientLifecycleMode::Initialize,
        )
        .await
    }

    /// Connects by `server/discover` of 2026-07-28.
    pub(crate) async fn discover(url: &str) -> Self {
        let version = ProtocolVersion::V_2026_07_28;
        let lifecycle = ClientLifecycleMode::Discover {
            preferred_versions: vec![version.clone()],
        };
        Self::start(url, version, lifecycle).await
    }

    async fn start(
        url: &str,
        protocol_version: ProtocolVersion,
        lifecycle: ClientLifecycleMode,
    ) -> Self {
        let (tx, heard) = mpsc::unbounded_channel();
        let handler = Handler {
            protocol_version,
            heard: tx,
        };
        // As it comes, but for the second that it waits before it comes back to a stream that ended.
        let mut config = StreamableHttpClientTransportConfig::with_uri(url);
        let mut retry = FixedInterval::default();
        retry.duration = Duration::from_millis(1);
        config.retry_config = Arc::new(retry);
        let transport = StreamableHttpClientTransport::from_config(config);
        let service = handler.serve_with_lifecycle(transport, lifecycle).await;
        Self {
            service: service.expect("the client connects"),
            heard: Mutex::new(heard),
        }
    }

    /// The names of the tools, in order.
    pub(crate) async fn tools(&self) -> Vec<String> {
        let tools = self
            .service
            .list_all_tools()
            .await
            .expect("a list of tools");
        tools
            .into_iter()
            .map(|tool| tool.name.into_owned())
            .collect()
    }

    /// Calls a tool that succeeds, and returns the text of its answer.
    pub(crate) async fn call(&self, tool: &'static str, arguments: Value) -> String {
        let answer = self.try_call(tool, arguments).await.expect("an answer");
        assert_eq!(answer.is_error, Some(false), "{tool}: {answer:?}");
        text(&answer)
    }

    pub(crate) async fn try_call(
        &self,
        tool: &'static str,
        arguments: Value,
    ) -> Result<CallToolResult, ServiceError> {
        let Value::Object(arguments) = arguments else {
            panic!("arguments are an object");
        };
        let call = CallToolRequestParams::new(tool).with_arguments(arguments);
        self.service.call_tool(call).await
    }

    pub(crate) async fn hear(&self) -> Heard {
        self.heard
            .lock()
            .await
            .recv()
            .await
            .expect("the client is connected")
    }

    /// Ends the session, and returns what was heard meanwhile and has not been looked at.
    pub(crate) async fn close(self) -> Vec<Heard> {
        self.service.cancel().await.expect("the client ends");
        let mut heard = self.heard.into_inner();
        let mut rest = Vec::new();
        while let Some(heard) = heard.recv().await {
            rest.push(heard);
        }
        rest
    }
}

/// The one text of an answer.
pub(crate) fn text(answer: &CallToolResult) -> String {
    match answer.content.as_slice() {
        [content] => content.as_text().expect("text").text.clone(),
        contents => panic!("one content, not {contents:?}"),
    }
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder().enable_elicitation().build();
        ClientConfig::new(capabilities, Implementation::new("interop", "1"))
            .with_protocol_version(self.protocol_version.clone())
    }

    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let message = progress.message.expect("the demo says which step it is");
        let _ = self.heard.send(Heard::Progress(message));
    }

    async fn on_resource_updated(
        &self,
        update: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let _ = self.heard.send(Heard::Updated(update.uri));
    }

    async fn create_elicitation(
        &self,
        question: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { message, .. } = question else {
            panic!("the demo asks by form");
        };
        let reply = json!({ "answer": format!("the answer to {message}") });
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(reply))
    }
}
