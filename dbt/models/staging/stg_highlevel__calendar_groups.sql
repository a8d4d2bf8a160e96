{{ meetings.stage('highlevel', 'highlevel_calendar_groups', key=['id'], cursor=none, columns=[
    ('id', 'text'),
    ('name', 'text'),
    ('locationId', 'text'),
    ('isActive', 'boolean'),
]) }}
