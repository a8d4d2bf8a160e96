-- How meetings of the last 90 days ended, by owner. `unknown` is part of the answer: nobody has
-- said what came of these meetings, so a rate of no-shows over all past meetings would be too low.
select
    provider,
    coalesce(owner_name, owner_id) as owner,
    sum(case when outcome = 'held' then 1 else 0 end) as held,
    sum(case when outcome = 'no_show' then 1 else 0 end) as no_shows,
    sum(case when outcome = 'cancelled' then 1 else 0 end) as cancelled,
    sum(case when outcome = 'unknown' then 1 else 0 end) as unknown,
    round(
        100.0 * sum(case when outcome = 'no_show' then 1 else 0 end)
        / nullif(sum(case when outcome in ('held', 'no_show') then 1 else 0 end), 0),
        1
    ) as no_show_percent
from {{ ref('meetings', 'meetings__meetings') }}
where is_past
    and not is_deleted
    and starts_at >= {{ dbt.dateadd('day', -90, meetings.now()) }}
group by provider, coalesce(owner_name, owner_id)
order by held desc, owner
