-- Let a user come again. Arguments: client, user, userId, by, origin.
local client, user, user_id, by, origin = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]

if is_repeated() then
    return ok()
end
if not has_seat(client) then
    return no('not_in_room')
end
if redis.call('SREM', BANS, user) == 0 then
    return no('not_banned')
end
tell('ranked', origin, user, user_id, 'member', by)
return ok()
