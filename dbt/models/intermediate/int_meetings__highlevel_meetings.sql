with listed as (
    select calendar_events.*, 1 as preference
    from {{ ref('meetings', 'stg_meetings__highlevel_calendar_events') }} as calendar_events
    union all
    select appointments.*, 2 as preference
    from {{ ref('meetings', 'stg_meetings__highlevel_appointments') }} as appointments
),

ranked as (
    -- The same appointment is in both tables, and one of them can be older.
    select
        listed.*,
        row_number() over (
            partition by connection, id order by date_updated desc nulls last, preference
        ) as version,
        max(extracted_at) over (partition by connection, id) as last_extracted_at
    from listed
)

select
    meeting_key,
    connection,
    id,
    title,
    notes,
    description,
    appointment_status,
    start_time,
    end_time,
    address,
    assigned_user_id,
    users,
    contact_id,
    contact_name,
    calendar_id,
    is_recurring,
    master_event_id,
    date_added,
    date_updated,
    coalesce(deleted, false) as deleted,
    last_extracted_at as extracted_at
from ranked
where version = 1
