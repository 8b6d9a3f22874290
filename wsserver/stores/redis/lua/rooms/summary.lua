-- A room in short, for one user. Arguments: user.
local user = ARGV[6]

if not EPOCH then
    return {'none'}
end
local is_open = setting('access') ~= '"invited"' or role_of(user)
local is_seen = is_open and redis.call('SISMEMBER', BANS, user) == 0
return ok(is_seen and 1 or 0, setting('title') or 'null', tonumber(participants()))
