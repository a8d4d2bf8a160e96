-- The meetings of the next seven days that are still on, with the people who have not answered yet.
select
    listed.starts_at,
    listed.provider,
    listed.title,
    listed.conference_url,
    sum(case when people.response = 'accepted' then 1 else 0 end) as accepted,
    sum(case when people.response = 'needs_action' then 1 else 0 end) as not_answered
from {{ ref('meetings', 'meetings__meetings') }} as listed
left join {{ ref('meetings', 'meetings__attendees') }} as people
    on people.meeting_key = listed.meeting_key
where listed.status = 'scheduled'
    and not listed.is_deleted
    and listed.starts_at between {{ meetings.now() }} and {{ dbt.dateadd('day', 7, meetings.now()) }}
group by listed.meeting_key, listed.starts_at, listed.provider, listed.title, listed.conference_url
order by listed.starts_at
