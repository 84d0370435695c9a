-- A tool call of about 1 KiB in the modern era, the same each time, so that wrk builds it once.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json, text/event-stream"
wrk.headers["MCP-Protocol-Version"] = "2026-07-28"
wrk.headers["Mcp-Method"] = "tools/call"
wrk.headers["Mcp-Name"] = "forecast"
wrk.body = [[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"forecast","arguments":{"question":"]]
  .. string.rep("What will the weather be like in Lisbon? ", 20)
  .. [["},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",]]
  .. [["io.modelcontextprotocol/clientCapabilities":{}}}}]]

-- One line for the program that started wrk: calls, microseconds, p50 and p99 in microseconds, failures.
function done(summary, latency, requests)
  local errors = summary.errors
  local failures = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("result %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), failures))
end
