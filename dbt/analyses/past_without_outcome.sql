-- Meetings that are over and of which the provider says nothing: whom to ask.
select
    provider,
    coalesce(owner_name, owner_id) as owner,
    count(*) as past_meetings,
    sum(case when outcome = 'unknown' then 1 else 0 end) as without_outcome
from {{ ref('meetings', 'meetings__meetings') }}
where is_past and not is_deleted
group by provider, coalesce(owner_name, owner_id)
order by without_outcome desc
