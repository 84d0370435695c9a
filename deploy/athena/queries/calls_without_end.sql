-- Calls without an end: requests that were sent more than an hour ago and have no record of what became of them. Seven days.
SELECT
  event.mcp.call_id AS call_id,
  min(from_unixtime(event.time / 1e3)) AS asked_at,
  min(event.workload.id) AS workload,
  min(event.mcp.endpoint) AS endpoint,
  min(event.mcp.method) AS method,
  min(event.mcp.name) AS name
FROM records
WHERE day >= cast(current_date - interval '7' day AS varchar)
  AND event.class_uid = 6003
  AND event.mcp.phase IN ('request', 'response')
GROUP BY event.mcp.call_id
HAVING count(event.mcp.outcome) = 0
  AND count(event.mcp.id) > 0
  AND max(from_unixtime(event.time / 1e3)) < current_timestamp - interval '1' hour
ORDER BY asked_at, call_id
