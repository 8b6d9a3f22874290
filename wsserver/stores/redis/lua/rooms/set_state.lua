-- Replace a member's presence state. Arguments: user, client, state, origin.
local user, client, state, origin = ARGV[6], ARGV[7], ARGV[8], ARGV[9]

local member = has_seat(client) and member_of(user)
if not member then
    return no('not_in_room')
end
if not is_repeated() then
    member.state = state
    save(user, member)
    tell('stated', origin, cjson.encode(member), participants())
end
return ok()
