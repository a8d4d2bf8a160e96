{{ meetings.stage('expoplatform', 'expoplatform_meeting_participants',
    name='participant_key', key=['event_id', 'meeting_id', 'account_id'], cursor='modified_at', columns=[
    ('event_id', 'text'),
    ('meeting_id', 'text'),
    ('account_id', 'text'),
    ('status', 'text'),
    ('starts_at', 'moment'),
    ('ends_at', 'moment'),
    ('created_at', 'moment'),
    ('modified_at', 'moment'),
    ('raw', 'json'),
]) }}
