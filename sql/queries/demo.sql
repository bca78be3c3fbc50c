-- name: at_work
SELECT count(*) FROM slaq.sla_worker_health h
WHERE split_part(h.worker_id, ':', 2)::integer = ANY(%(pids)s) AND (h.kind = 'worker' OR h.is_temporal_up)

-- name: tellings
SELECT coalesce(jsonb_agg(to_jsonb(one) ORDER BY one.noticed_at, one.ticket_id, one.phase, one.percent), '[]')::text
FROM (
    SELECT c.ticket_id, c.phase, c.percent, c.claimed_by, a.backend, c.crossed_at, c.noticed_at,
           extract(epoch FROM c.noticed_at - greatest(c.crossed_at, c.armed_at))::float8 AS late,
           array_agg(c.kind || coalesce(' level ' || c.level, '') ORDER BY c.kind) AS kinds,
           ARRAY(
               SELECT n.user_id FROM slaq.sla_notifications n WHERE n.tenant = c.tenant AND n.crossing_id = ANY(array_agg(c.crossing_id))
               UNION
               SELECT d.user_id FROM slaq.sla_deliveries d WHERE d.tenant = c.tenant AND d.crossing_id = ANY(array_agg(c.crossing_id))
               ORDER BY 1
           ) AS told
    FROM slaq.sla_crossings c
    JOIN slaq.sla_alarms a ON a.tenant = c.tenant AND a.ticket_id = c.ticket_id
    WHERE c.tenant = %(tenant)s AND c.ticket_id = ANY(%(tickets)s)
    GROUP BY c.tenant, c.ticket_id, c.phase, c.percent, c.claimed_by, a.backend, c.crossed_at, c.noticed_at, c.armed_at
) one
