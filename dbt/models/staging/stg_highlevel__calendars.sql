{{ meetings.stage('highlevel', 'highlevel_calendars', key=['id'], cursor=none, columns=[
    ('id', 'text'),
    ('name', 'text'),
    ('groupId', 'text'),
    ('locationId', 'text'),
    ('isActive', 'boolean'),
]) }}
