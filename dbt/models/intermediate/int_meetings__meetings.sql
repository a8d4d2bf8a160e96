-- Every provider's meetings with the same columns; what a provider cannot fill is null.
{{ meetings.require_raw_tables([
    'close_meetings',
    'close_meetings_by_calendar_event',
    'salesloft_meetings',
    'highlevel_calendar_events',
    'highlevel_appointments',
    'expoplatform_meeting_participants',
]) }}
with close as (
    select
        meeting_key,
        'close' as provider,
        connection,
        id as provider_meeting_id,
        title,
        note as description,
        {{ meetings.one_of('status', {
            'scheduled': ['upcoming'],
            'in_progress': ['in-progress'],
            'completed': ['completed'],
            'cancelled': ['canceled', 'cancelled'],
            'declined': ['declined-by-org', 'declined-by-lead'],
        }) }} as status,
        status as status_raw,
        starts_at,
        ends_at,
        duration as duration_seconds,
        {{ meetings.null_of('boolean') }} as is_all_day,
        location,
        coalesce(
            {{ meetings.json_text(meetings.json_get('conference_links', 0), 'url') }},
            {{ meetings.link_in('location') }}
        ) as conference_url,
        user_id as owner_id,
        user_name as owner_name,
        lead_id as account_id,
        contact_id,
        {{ meetings.json_text('provider_calendar_ids', 0) }} as calendar_id,
        provider_calendar_type as calendar_provider,
        provider_calendar_event_id,
        {{ meetings.json_text('calendar_event_uids', 0) }} as ical_uid,
        is_recurring,
        {{ meetings.null_of('text') }} as recurring_meeting_id,
        outcome_name,
        -- People name the outcomes of their organization.
        {{ meetings.is_any_of('outcome_name', var('close_no_show_outcomes')) }} as is_no_show,
        false as is_held,
        -- no row: transcripts were not synced, or not for this meeting
        case when transcripts is not null then {{ meetings.json_get('transcripts', 0) }} is not null end as has_transcript,
        coalesce(
            {{ meetings.json_text('summary', 'text') }},
            {{ meetings.json_text(meetings.json_get('transcripts', 0), 'summary_text') }}
        ) as transcript_summary,
        -- Observed: Close puts the start here, which is no time of creation.
        case when date_created <> starts_at then date_created end as created_at,
        date_updated as updated_at,
        {{ meetings.null_of('moment') }} as cancelled_at,
        is_deleted,
        extracted_at
    from {{ ref('meetings', 'int_meetings__close_meetings') }}
),

salesloft as (
    select
        meeting_key,
        'salesloft' as provider,
        connection,
        id as provider_meeting_id,
        title,
        description,
        -- `status` is that of the booking. Whether a meeting was held, Salesloft does not say.
        case
            when canceled_at is not null then 'cancelled'
            when no_show then 'no_show'
            when lower(status) in ('booked', 'pending', 'retry') then 'scheduled'
            else 'unknown'
        end as status,
        status as status_raw,
        start_time as starts_at,
        end_time as ends_at,
        {{ dbt.datediff('start_time', 'end_time', 'second') }} as duration_seconds,
        all_day as is_all_day,
        location,
        {{ meetings.link_in('location') }} as conference_url,
        {{ meetings.json_text('owned_by_user', 'id') }} as owner_id,
        {{ meetings.null_of('text') }} as owner_name,
        account_id,
        {{ meetings.json_text('person', 'id') }} as contact_id,
        calendar_id,
        calendar_type as calendar_provider,
        event_id as provider_calendar_event_id,
        i_cal_uid as ical_uid,
        recurring as is_recurring,
        {{ meetings.null_of('text') }} as recurring_meeting_id,
        {{ meetings.null_of('text') }} as outcome_name,
        false as is_no_show,
        false as is_held,
        {{ meetings.null_of('boolean') }} as has_transcript,
        {{ meetings.null_of('text') }} as transcript_summary,
        created_at,
        updated_at,
        canceled_at as cancelled_at,
        false as is_deleted,
        extracted_at
    from {{ ref('meetings', 'stg_meetings__salesloft_meetings') }}
),

highlevel as (
    select
        meeting_key,
        'highlevel' as provider,
        connection,
        id as provider_meeting_id,
        title,
        coalesce(nullif(description, ''), notes) as description,
        {{ meetings.one_of('appointment_status', {
            'scheduled': ['new', 'confirmed', 'active', 'booked'],
            'completed': ['showed', 'completed'],
            'cancelled': ['cancelled', 'canceled'],
            'no_show': ['noshow'],
        }) }} as status,
        appointment_status as status_raw,
        start_time as starts_at,
        end_time as ends_at,
        {{ dbt.datediff('start_time', 'end_time', 'second') }} as duration_seconds,
        {{ meetings.null_of('boolean') }} as is_all_day,
        address as location,
        {{ meetings.link_in('address') }} as conference_url,
        assigned_user_id as owner_id,
        {{ meetings.null_of('text') }} as owner_name,
        {{ meetings.null_of('text') }} as account_id,
        contact_id,
        calendar_id,
        {{ meetings.null_of('text') }} as calendar_provider,
        {{ meetings.null_of('text') }} as provider_calendar_event_id,
        {{ meetings.null_of('text') }} as ical_uid,
        is_recurring,
        master_event_id as recurring_meeting_id,
        {{ meetings.null_of('text') }} as outcome_name,
        false as is_no_show,
        false as is_held,
        {{ meetings.null_of('boolean') }} as has_transcript,
        {{ meetings.null_of('text') }} as transcript_summary,
        date_added as created_at,
        date_updated as updated_at,
        {{ meetings.null_of('moment') }} as cancelled_at,
        deleted as is_deleted,
        extracted_at
    from {{ ref('meetings', 'int_meetings__highlevel_meetings') }}
),

expoplatform as (
    -- One row a participant; the meeting is what they have in common. It is cancelled, declined or
    -- over when it is so for all of them, and scheduled as long as it is for one.
    select
        meeting_key,
        'expoplatform' as provider,
        connection,
        meeting_id as provider_meeting_id,
        {{ meetings.null_of('text') }} as title,
        {{ meetings.null_of('text') }} as description,
        case
            when max(case when response in ('accepted', 'needs_action') then 1 else 0 end) = 1 then 'scheduled'
            when max(case when response = 'attended' then 1 else 0 end) = 1 then 'completed'
            when max(case when response = 'unknown' then 1 else 0 end) = 1 then 'unknown'
            when max(case when lower(status) like 'cancel%' then 1 else 0 end) = 1 then 'cancelled'
            else 'declined'
        end as status,
        {{ meetings.text_list('status') }} as status_raw,
        max(starts_at) as starts_at,
        max(ends_at) as ends_at,
        {{ dbt.datediff('max(starts_at)', 'max(ends_at)', 'second') }} as duration_seconds,
        {{ meetings.null_of('boolean') }} as is_all_day,
        {{ meetings.null_of('text') }} as location,
        {{ meetings.null_of('text') }} as conference_url,
        {{ meetings.null_of('text') }} as owner_id,
        {{ meetings.null_of('text') }} as owner_name,
        {{ meetings.null_of('text') }} as account_id,
        {{ meetings.null_of('text') }} as contact_id,
        event_id as calendar_id,
        {{ meetings.null_of('text') }} as calendar_provider,
        {{ meetings.null_of('text') }} as provider_calendar_event_id,
        {{ meetings.null_of('text') }} as ical_uid,
        {{ meetings.null_of('boolean') }} as is_recurring,
        {{ meetings.null_of('text') }} as recurring_meeting_id,
        {{ meetings.null_of('text') }} as outcome_name,
        false as is_no_show,
        -- marked as held for one of them, whatever the others are
        max(case when response = 'attended' then 1 else 0 end) = 1 as is_held,
        {{ meetings.null_of('boolean') }} as has_transcript,
        {{ meetings.null_of('text') }} as transcript_summary,
        min(created_at) as created_at,
        max(modified_at) as updated_at,
        {{ meetings.null_of('moment') }} as cancelled_at,
        false as is_deleted,
        max(extracted_at) as extracted_at
    from {{ ref('meetings', 'int_meetings__expoplatform_participants') }}
    group by meeting_key, connection, event_id, meeting_id
),

everything as (
    select * from close
    union all
    select * from salesloft
    union all
    select * from highlevel
    union all
    select * from expoplatform
)

select
    meeting_key,
    provider,
    connection,
    provider_meeting_id,
    title,
    description,
    status,
    status_raw,
    -- What the provider says of it, whatever the clock says: most meetings in the past are of an
    -- unknown outcome where a provider does not ask for one.
    case
        when status in ('cancelled', 'declined') then 'cancelled'
        when status = 'no_show' or is_no_show then 'no_show'
        when status = 'completed' or is_held then 'held'
        else 'unknown'
    end as outcome,
    outcome_name,
    starts_at,
    ends_at,
    {{ meetings.has_ended('starts_at', 'ends_at') }} as is_past,
    cast(duration_seconds as {{ meetings.type_name('integer') }}) as duration_seconds, -- a float in PostgreSQL
    is_all_day,
    location,
    conference_url,
    owner_id,
    owner_name,
    account_id,
    contact_id,
    calendar_id,
    calendar_provider,
    provider_calendar_event_id,
    ical_uid,
    is_recurring,
    recurring_meeting_id,
    has_transcript,
    transcript_summary,
    created_at,
    updated_at,
    cancelled_at,
    is_deleted,
    extracted_at
from everything
