{{ meetings.stage('highlevel', 'highlevel_calendar_groups', name='calendar_group_key', key=['id'], cursor=none, columns=[
    ('id', 'text'),
    ('name', 'text'),
    ('locationId', 'text'),
    ('isActive', 'boolean'),
]) }}
