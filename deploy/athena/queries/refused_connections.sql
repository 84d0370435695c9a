-- Refused connections: what did not become a call, and why. Seven days.
SELECT
  event.workload.id AS workload,
  coalesce(event.dst_endpoint.hostname, event.dst_endpoint.ip) AS server,
  event.dst_endpoint.port AS port,
  event.flow."end" AS became,
  event.status_detail AS reason,
  count(DISTINCT event.flow.id) AS connections,
  max(from_unixtime(event.time / 1e3)) AS latest
FROM records
WHERE day >= cast(current_date - interval '7' day AS varchar)
  AND event.class_uid = 4001
  AND event.flow."end" NOT IN ('closed', 'spliced')
GROUP BY event.workload.id, coalesce(event.dst_endpoint.hostname, event.dst_endpoint.ip), event.dst_endpoint.port, event.flow."end", event.status_detail
ORDER BY connections DESC, workload, server
