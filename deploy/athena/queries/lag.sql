-- Lag: the newest record of each log, and how long ago it happened. A log that is far behind is a host that fell silent, or
-- one that cannot ship. Seven days.
SELECT
  log,
  max(epoch) AS epoch,
  max(seq) AS newest_seq,
  max(from_unixtime(event.time / 1e3)) AS newest,
  date_diff('second', max(from_unixtime(event.time / 1e3)), current_timestamp) AS seconds_behind
FROM records
WHERE day >= cast(current_date - interval '7' day AS varchar)
GROUP BY log
ORDER BY seconds_behind DESC, log
