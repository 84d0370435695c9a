-- Unapproved deletes: calls of tools whose name says that they destroy, that nobody approved. Seven days, newest first.
SELECT DISTINCT
  from_unixtime(event.time / 1e3) AS at,
  event.workload.id AS workload,
  event.caller.sub AS caller,
  event.mcp.endpoint AS endpoint,
  event.mcp.name AS tool,
  event.mcp.params AS params,
  event.mcp.call_id AS call_id
FROM records
WHERE day >= cast(current_date - interval '7' day AS varchar)
  AND event.class_uid = 6003
  AND event.mcp.phase = 'request'
  AND event.mcp.method = 'tools/call'
  AND event.verdict.action = 'allow'
  AND event.verdict.approval_id IS NULL
  AND regexp_like(lower(event.mcp.name), '(delete|remove|drop|destroy|purge|erase|terminate|revoke|truncate)')
ORDER BY at DESC, call_id
