with listed as (
    select meeting_key, connection, id, title, note, status, starts_at, ends_at, duration, location,
        conference_links, user_id, user_name, lead_id, contact_id, provider_calendar_ids,
        provider_calendar_type, provider_calendar_event_id, calendar_event_uids, is_recurring,
        outcome_id, summary, attendees, date_created, date_updated, is_deleted, extracted_at,
        1 as preference
    from {{ ref('meetings', 'stg_meetings__close_meetings') }}
    union all
    select meeting_key, connection, id, title, note, status, starts_at, ends_at, duration, location,
        conference_links, user_id, user_name, lead_id, contact_id, provider_calendar_ids,
        provider_calendar_type, provider_calendar_event_id, calendar_event_uids, is_recurring,
        outcome_id, summary, attendees, date_created, date_updated,
        {{ meetings.null_of('boolean') }} as is_deleted, extracted_at,
        2 as preference
    from {{ ref('meetings', 'stg_meetings__close_meetings_by_calendar_event') }}
),

ranked as (
    -- A meeting can be in both tables, and one of them can be older.
    select
        listed.*,
        row_number() over (
            partition by connection, id order by date_updated desc nulls last, preference
        ) as version
    from listed
),

outcomes_read as (
    -- A renamed or deleted outcome changes its meetings without their being extracted again.
    select connection, max(extracted_at) as extracted_at
    from {{ ref('meetings', 'stg_meetings__close_outcomes') }}
    group by connection
)

select
    ranked.meeting_key,
    ranked.connection,
    ranked.id,
    ranked.title,
    ranked.note,
    ranked.status,
    ranked.starts_at,
    ranked.ends_at,
    ranked.duration,
    ranked.location,
    ranked.conference_links,
    ranked.user_id,
    ranked.user_name,
    ranked.lead_id,
    ranked.contact_id,
    ranked.provider_calendar_ids,
    ranked.provider_calendar_type,
    ranked.provider_calendar_event_id,
    ranked.calendar_event_uids,
    ranked.is_recurring,
    coalesce(outcomes.name, ranked.outcome_id) as outcome_name,
    ranked.summary,
    transcripts.transcripts,
    ranked.attendees,
    ranked.date_created,
    ranked.date_updated,
    coalesce(ranked.is_deleted, false) as is_deleted,
    {{ meetings.later_of(
        meetings.later_of('ranked.extracted_at', 'transcripts.extracted_at'),
        'outcomes_read.extracted_at'
    ) }} as extracted_at
from ranked
left join {{ ref('meetings', 'stg_meetings__close_meeting_transcripts') }} as transcripts
    on transcripts.connection = ranked.connection and transcripts.id = ranked.id
left join {{ ref('meetings', 'stg_meetings__close_outcomes') }} as outcomes
    on outcomes.connection = ranked.connection and outcomes.id = ranked.outcome_id
left join outcomes_read
    on outcomes_read.connection = ranked.connection and ranked.outcome_id is not null
where ranked.version = 1
