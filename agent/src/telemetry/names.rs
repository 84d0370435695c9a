//! Names that OpenTelemetry's semantic conventions give (semantic-conventions-genai, docs/gen-ai/mcp.md, status
//! development; the general ones of semantic-conventions 1.44), and our own, which begin with `weir.`.

pub(super) const CLIENT_OPERATION_DURATION: &str = "mcp.client.operation.duration";
pub(super) const SERVER_OPERATION_DURATION: &str = "mcp.server.operation.duration";

pub(super) const MCP_METHOD_NAME: &str = "mcp.method.name";
pub(super) const MCP_PROTOCOL_VERSION: &str = "mcp.protocol.version";
pub(super) const MCP_RESOURCE_URI: &str = "mcp.resource.uri";
pub(super) const MCP_SESSION_ID: &str = "mcp.session.id";
pub(super) const GEN_AI_OPERATION_NAME: &str = "gen_ai.operation.name";
pub(super) const GEN_AI_PROMPT_NAME: &str = "gen_ai.prompt.name";
pub(super) const GEN_AI_TOOL_NAME: &str = "gen_ai.tool.name";
pub(super) const JSONRPC_REQUEST_ID: &str = "jsonrpc.request.id";
pub(super) const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";

pub(super) const CLIENT_ADDRESS: &str = "client.address";
pub(super) const CLIENT_PORT: &str = "client.port";
pub(super) const ERROR_TYPE: &str = "error.type";
pub(super) const HOST_NAME: &str = "host.name";
pub(super) const NETWORK_PROTOCOL_NAME: &str = "network.protocol.name";
pub(super) const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
pub(super) const NETWORK_TRANSPORT: &str = "network.transport";
pub(super) const SERVER_ADDRESS: &str = "server.address";
pub(super) const SERVER_PORT: &str = "server.port";
pub(super) const SERVICE_INSTANCE_ID: &str = "service.instance.id";
pub(super) const SERVICE_VERSION: &str = "service.version";

pub(super) const CALL_ID: &str = "weir.call.id";
pub(super) const ENDPOINT: &str = "weir.endpoint";
pub(super) const VERDICT: &str = "weir.verdict";
pub(super) const VERDICT_POLICY: &str = "weir.verdict.policy";
pub(super) const WORKLOAD_ID: &str = "weir.workload.id";
