-- ExpoPlatform documents no column of its export: those below are looked for in `raw` under the
-- names that its other reports have, and null where they are not.
select
    participant_key,
    {{ meetings.key_of(["'expoplatform'", 'connection', 'event_id', 'meeting_id']) }} as meeting_key,
    connection,
    event_id,
    meeting_id,
    account_id,
    status,
    {{ meetings.one_of('status', {
        'needs_action': ['pending', 'incoming'],
        'accepted': ['confirmed'],
        'declined': ['cancelled', 'canceled', 'declined', 'rejected'],
        'attended': ['completed', 'rated'],
    }) }} as response,
    case
        when account_id like '%@%' then account_id
        else {{ meetings.first_text('raw', ['Account Email', 'account_email', 'accountEmail', 'Email', 'email']) }}
    end as email,
    {{ meetings.first_text('raw', ['Account Name', 'account_name', 'accountName', 'Name', 'name']) }} as first_name,
    {{ meetings.first_text('raw', ['Account Last Name', 'account_last_name', 'accountLastName']) }} as last_name,
    case lower({{ meetings.first_text('raw', ['Meeting Role', 'meeting_role', 'meetingRole']) }})
        when 'initiator' then true
        when 'receiver' then false
    end as is_organizer,
    starts_at,
    ends_at,
    created_at,
    modified_at,
    extracted_at
from {{ ref('meetings', 'stg_meetings__expoplatform_meeting_participants') }}
