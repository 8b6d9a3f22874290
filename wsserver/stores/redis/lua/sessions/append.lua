-- ARGV: 4 time, 5 title, 6 after the newest, 7 most bytes of a session, 8 of an owner,
-- then for each message: id, parent, size, head, content, stream
if not is_alive() then
    return {'none'}
end
local fresh, is_fresh, added = {}, {}, 0
for index = 9, #ARGV, 6 do
    local message, parent = ARGV[index], ARGV[index + 1]
    if redis.call('HEXISTS', TREE, message) == 0 and not is_fresh[message] then
        if index == 9 and ARGV[6] == '1' then
            parent = newest()
        end
        if parent ~= '' and not is_fresh[parent] and redis.call('HEXISTS', TREE, parent) == 0 then
            return {'no message', parent}
        end
        is_fresh[message] = true
        fresh[#fresh + 1] = {index, parent}
        added = added + tonumber(ARGV[index + 2])
    end
end
local most_of_session, most_of_owner = tonumber(ARGV[7]), tonumber(ARGV[8])
if added > 0 then
    local size = tonumber(redis.call('HGET', SIZES, id) or 0)
    if most_of_session > 0 and size + added > most_of_session then
        return {'session full', most_of_session}
    end
    local total = tonumber(redis.call('HGET', OWNER, 'bytes') or 0)
    if most_of_owner > 0 and total + added > most_of_owner then
        return {'owner full', most_of_owner}
    end
end
for _, entry in ipairs(fresh) do
    local index, parent = entry[1], entry[2]
    local message, stream = ARGV[index], ARGV[index + 5]
    redis.call('HSET', TREE, message, ARGV[index + 2] .. ':' .. parent)
    redis.call('HSET', HEADS, message, ARGV[index + 3])
    redis.call('HSET', CONTENTS, message, ARGV[index + 4])
    redis.call('RPUSH', ORDER, message)
    if stream ~= '' then
        redis.call('HSET', STREAMS, stream, cjson.encode({id, message}))
    end
end
add_bytes(added)
if ARGV[5] ~= '' then
    redis.call('HSETNX', SESSION, 'title', ARGV[5])
end
touch(ARGV[4])
return described()
