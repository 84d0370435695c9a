-- Shadow MCP: servers that nobody registered and that look like MCP, by workload. Seven days.
SELECT
  event.workload.id AS workload,
  coalesce(event.dst_endpoint.hostname, event.dst_endpoint.ip) AS server,
  event.dst_endpoint.port AS port,
  event.flow.shadow.kind AS kind,
  min(event.flow.shadow.evidence) AS evidence,
  count(DISTINCT event.flow.id) AS connections,
  max(from_unixtime(event.time / 1e3)) AS latest
FROM records
WHERE day >= cast(current_date - interval '7' day AS varchar)
  AND event.flow.shadow.kind IS NOT NULL
GROUP BY event.workload.id, coalesce(event.dst_endpoint.hostname, event.dst_endpoint.ip), event.dst_endpoint.port, event.flow.shadow.kind
ORDER BY connections DESC, workload, server
