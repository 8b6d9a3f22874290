-- Give a client its seat. Arguments: user, userId, name, client, node, state, whether the name
-- is new, invite, epoch and whether a room may be made, the seq that the client has and its epoch
-- (empty: of whichever), origin, members shown, bytes and entries of a page; then, of a member whose
-- room has been lost, the role that it had and the settings: pairs of names and values as JSON; the
-- client's last take; and whether it only takes up again what it had.
local user, user_id, name, client, node = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local state, is_renamed, invite = ARGV[11], ARGV[12] == '1', ARGV[13]
local epoch, may_make, has, has_epoch = ARGV[14], ARGV[15] == '1', tonumber(ARGV[16]), ARGV[17]
local origin, shown, size, page = ARGV[18], tonumber(ARGV[19]), tonumber(ARGV[20]), tonumber(ARGV[21])
local known, known_settings, takes = ARGV[22], ARGV[23], tonumber(ARGV[24])
local returns = ARGV[25] == '1'
local is_new = not EPOCH

local function invited_as()
    local found = invite ~= '' and redis.call('HGET', INVITES, invite)
    if found then
        found = cjson.decode(found)
        return found.expires > NOW and found.role or nil
    end
end

local function refusal(invited)
    local role = redis.call('HGET', ROLES, user)
    if setting('locked') == 'true' and not (role and RANKS[role] >= RANKS.moderator) then
        return no('locked')
    end
    if setting('access') == '"invited"' and not role and not invited then
        return no('not_invited', invite)
    end
    local most = tonumber(setting('maxMembers') or nil)
    if most and redis.call('ZCARD', ORDER) >= most then
        return no('full', whole(most))
    end
end

local function enter(invited)
    local remembered = redis.call('HGET', ROLES, user)
    local role = remembered
    if invited then
        role = higher(role or invited, invited)
    elseif not role and known ~= '' then
        role = known
    elseif is_new then
        role = 'owner'
    end
    if role and role ~= remembered then
        redis.call('HSET', ROLES, user, role)
    end
    redis.call('ZADD', ORDER, redis.call('HINCRBY', META, 'joins', 1), user)
    local member = {id = user_id, name = name, role = role or 'member', seats = {{client, node, takes}}}
    member.state = state ~= '' and state or '{}'
    tell('entered', origin, cjson.encode(member), participants())
    return member
end

local function join_again(member, invited)
    local is_other = (is_renamed and name ~= member.name)
        or (state ~= '' and state ~= member.state)
    if is_renamed then
        member.name = name
    end
    if state ~= '' then
        member.state = state
    end
    if is_other then
        tell('stated', origin, cjson.encode(member), participants())
    end
    if invited then
        local role = higher(member.role, invited)
        redis.call('HSET', ROLES, user, role)
        if role ~= member.role then
            member.role = role
            tell('ranked', '', user, member.id, role, 'server')
        end
    end
end

-- The client has come back elsewhere since this was asked: it came late.
local function is_late(member)
    for _, seat in ipairs(member.seats) do
        if seat[1] == client then
            return seat[3] > takes
        end
    end
end

local function take_seat(member)
    for _, seat in ipairs(member.seats) do
        if seat[1] == client then
            seat[3] = takes
            if seat[2] ~= node then
                seat[2] = node
                tell('moved', '', client, node)
            end
            return
        end
    end
    member.seats[#member.seats + 1] = {client, node, takes}
    -- Nobody is told of it. But without a change a Redis that loses this seat would look whole.
    tell('moved', '', client, node)
end

local invited = EPOCH and invited_as()
local member = EPOCH and member_of(user)
if EPOCH then
    if redis.call('SISMEMBER', BANS, user) == 1 then
        return no('banned')
    end
    if member and is_late(member) then
        return no('not_in_room')
    end
    if returns and redis.call('ZSCORE', KICKED, client) then
        return no('not_in_room')
    end
    local refused = not member and known == '' and refusal(invited)
    if refused then
        return refused
    end
elseif may_make then
    EPOCH, place = epoch, 0
    redis.call('HSET', META, 'ep', epoch, 'seq', 0, 'chg', 0)
    for _, pair in ipairs(known_settings ~= '' and cjson.decode(known_settings) or {}) do
        redis.call('HSET', META, 's:' .. pair[1], pair[2])
    end
else
    return {'none'}
end
local was_empty = redis.call('ZCARD', ORDER) == 0
if member then
    join_again(member, invited)
    take_seat(member)
else
    member = enter(invited)
end
save(user, member)
redis.call('HSET', CLIENTS, client, user)
redis.call('ZREM', KICKED, client)
live(LIFE)

local asks = {}
for index, ask in ipairs(open_asks()) do
    asks[index] = cjson.encode(ask)
end
local first = redis.call('ZRANGE', ORDER, 0, shown - 1)
local members = redis.call('HMGET', MEMBERS, unpack(first))
local last = seq()
local count = page
local is_known = has_epoch == '' or has_epoch == EPOCH
if has and is_known and has <= last and last - has <= redis.call('LLEN', LOG) then
    count = math.max(page, last - has)
end
return ok(was_empty and 1 or 0, last, tonumber(participants()), members, member.role, settings(),
    asks, entries_to(last, count, size))
