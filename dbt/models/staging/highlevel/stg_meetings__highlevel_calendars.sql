{{ meetings.stage('highlevel', 'highlevel_calendars', name='calendar_key', key=['id'], cursor=none, columns=[
    ('id', 'text'),
    ('name', 'text'),
    ('groupId', 'text'),
    ('locationId', 'text'),
    ('isActive', 'boolean'),
]) }}
