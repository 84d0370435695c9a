-- Calls by workload: who called what, how often, and how often it did not end well. Seven days.
SELECT
  event.workload.id AS workload,
  event.mcp.endpoint AS endpoint,
  event.mcp.method AS method,
  event.mcp.name AS name,
  count(DISTINCT event.mcp.call_id) AS calls,
  count(DISTINCT CASE WHEN event.mcp.outcome <> 'ok' THEN event.mcp.call_id END) AS not_ok,
  max(from_unixtime(event.time / 1e3)) AS latest
FROM records
WHERE day >= cast(current_date - interval '7' day AS varchar)
  AND event.class_uid = 6003
  AND (event.mcp.phase = 'response' OR event.mcp.outcome = 'refused')
GROUP BY event.workload.id, event.mcp.endpoint, event.mcp.method, event.mcp.name
ORDER BY calls DESC, workload, endpoint, method, name
