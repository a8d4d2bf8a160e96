-- Everybody whom a meeting names, each of them once: first by e-mail address, else by the provider's
-- id, else by name. `preference` says which mention counts when there are several.
with close as (
    select
        meeting_key,
        'close' as provider,
        connection,
        {{ meetings.json_text('element', 'email') }} as email,
        {{ meetings.json_text('element', 'name') }} as name,
        cast({{ meetings.json_text('element', 'is_organizer') }} as {{ meetings.type_name('boolean') }}) as is_organizer,
        {{ meetings.one_of(meetings.json_text('element', 'status'), {
            'needs_action': ['noreply'],
            'accepted': ['yes'],
            'tentative': ['maybe'],
            'declined': ['no'],
        }) }} as response,
        {{ meetings.json_text('element', 'status') }} as response_raw,
        coalesce(
            {{ meetings.json_text('element', 'contact_id') }},
            {{ meetings.json_text('element', 'user_id') }}
        ) as provider_person_id,
        false as is_removed,
        1 as preference,
        place,
        extracted_at
    from (
        {{ meetings.json_rows(ref('meetings', 'int_meetings__close_meetings'), 'attendees') }}
    ) as attendees
),

salesloft as (
    select
        meeting_key,
        'salesloft' as provider,
        connection,
        {{ meetings.json_text('element', 'email') }} as email,
        {{ meetings.json_text('element', 'name') }} as name,
        cast({{ meetings.json_text('element', 'organizer') }} as {{ meetings.type_name('boolean') }}) as is_organizer,
        {{ meetings.one_of(meetings.json_text('element', 'status'), {
            'needs_action': ['needsaction'],
            'accepted': ['accepted'],
            'tentative': ['tentative'],
            'declined': ['declined'],
        }) }} as response,
        {{ meetings.json_text('element', 'status') }} as response_raw,
        {{ meetings.json_text(meetings.json_get('element', 'person'), 'id') }} as provider_person_id,
        {{ meetings.json_text('element', 'deleted_at') }} is not null as is_removed,
        1 as preference,
        place,
        extracted_at
    from (
        {{ meetings.json_rows(ref('meetings', 'stg_meetings__salesloft_meetings'), 'attendees') }}
    ) as attendees
    union all
    select
        meeting_key,
        'salesloft' as provider,
        connection,
        {{ meetings.json_scalar('element') }} as email,
        {{ meetings.null_of('text') }} as name,
        {{ meetings.null_of('boolean') }} as is_organizer,
        'unknown' as response,
        {{ meetings.null_of('text') }} as response_raw,
        {{ meetings.null_of('text') }} as provider_person_id,
        false as is_removed,
        3 as preference,
        place,
        extracted_at
    from (
        {{ meetings.json_rows(ref('meetings', 'stg_meetings__salesloft_meetings'), 'guests') }}
    ) as guests
    union all
    select
        meeting_key,
        'salesloft' as provider,
        connection,
        recipient_email as email,
        recipient_name as name,
        {{ meetings.null_of('boolean') }} as is_organizer,
        'unknown' as response,
        {{ meetings.null_of('text') }} as response_raw,
        {{ meetings.json_text('person', 'id') }} as provider_person_id,
        false as is_removed,
        2 as preference,
        0 as place,
        extracted_at
    from {{ ref('meetings', 'stg_meetings__salesloft_meetings') }}
    where recipient_email is not null
),

highlevel as (
    -- The contact, whose answer is the appointment's status, and the users who own it.
    select
        meeting_key,
        'highlevel' as provider,
        connection,
        {{ meetings.null_of('text') }} as email,
        contact_name as name,
        false as is_organizer,
        {{ meetings.one_of('appointment_status', {
            'needs_action': ['new'],
            'accepted': ['confirmed'],
            'attended': ['showed'],
            'no_show': ['noshow'],
        }) }} as response,
        appointment_status as response_raw,
        contact_id as provider_person_id,
        false as is_removed,
        1 as preference,
        0 as place,
        extracted_at
    from {{ ref('meetings', 'int_meetings__highlevel_meetings') }}
    where contact_id is not null
    union all
    select
        meeting_key,
        'highlevel' as provider,
        connection,
        {{ meetings.null_of('text') }} as email,
        {{ meetings.null_of('text') }} as name,
        true as is_organizer,
        'unknown' as response,
        {{ meetings.null_of('text') }} as response_raw,
        assigned_user_id as provider_person_id,
        false as is_removed,
        1 as preference,
        0 as place,
        extracted_at
    from {{ ref('meetings', 'int_meetings__highlevel_meetings') }}
    where assigned_user_id is not null
    union all
    select
        meeting_key,
        'highlevel' as provider,
        connection,
        {{ meetings.null_of('text') }} as email,
        {{ meetings.null_of('text') }} as name,
        false as is_organizer,
        'unknown' as response,
        {{ meetings.null_of('text') }} as response_raw,
        {{ meetings.json_scalar('element') }} as provider_person_id,
        false as is_removed,
        2 as preference,
        place,
        extracted_at
    from (
        {{ meetings.json_rows(ref('meetings', 'int_meetings__highlevel_meetings'), 'users') }}
    ) as users
),

expoplatform as (
    select
        meeting_key,
        'expoplatform' as provider,
        connection,
        email,
        nullif(trim({{ dbt.concat(["coalesce(first_name, '')", "' '", "coalesce(last_name, '')"]) }}), '') as name,
        is_organizer,
        response,
        status as response_raw,
        account_id as provider_person_id,
        false as is_removed,
        1 as preference,
        0 as place,
        -- that of the meeting: one changed row renews them all
        max(extracted_at) over (partition by meeting_key) as extracted_at
    from {{ ref('meetings', 'int_meetings__expoplatform_participants') }}
),

everybody as (
    select * from close
    union all
    select * from salesloft
    union all
    select * from highlevel
    union all
    select * from expoplatform
),

identified as (
    select
        everybody.*,
        nullif(lower(trim(email)), '') as email_address,
        coalesce(
            case when provider = 'expoplatform' then provider_person_id end,
            nullif(lower(trim(email)), ''),
            provider_person_id,
            nullif(name, ''),
            cast(place as {{ meetings.type_name('text') }})
        ) as person
    from everybody
),

ranked as (
    select
        identified.*,
        row_number() over (
            partition by meeting_key, person
            order by preference, case when is_removed then 1 else 0 end,
                case when is_organizer then 0 else 1 end, place
        ) as mention
    from identified
)

select
    {{ meetings.key_of(['meeting_key', 'person']) }} as attendee_key,
    meeting_key,
    provider,
    connection,
    email_address as email,
    nullif(name, '') as name,
    is_organizer,
    response,
    response_raw,
    provider_person_id,
    extracted_at
from ranked
where mention = 1 and not is_removed
