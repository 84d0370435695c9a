-- Denied calls: what was refused, to whom, by which rule, and why; also requests that could not be read as a call. Seven
-- days, newest first.
SELECT DISTINCT
  from_unixtime(event.time / 1e3) AS at,
  event.workload.id AS workload,
  event.caller.sub AS caller,
  event.mcp.endpoint AS endpoint,
  coalesce(event.mcp.method, event.http_request.http_method) AS method,
  event.mcp.name AS name,
  event.verdict.policy AS decided_by,
  event.verdict.reason AS reason,
  log,
  seq
FROM records
WHERE day >= cast(current_date - interval '7' day AS varchar)
  AND event.class_uid IN (4002, 6003)
  AND event.verdict.action = 'deny'
ORDER BY at DESC, log, seq
