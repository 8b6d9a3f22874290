-- Open an ask. Arguments: client, stream, model, entry (empty: none), whether it must be alone,
-- whether it steers, node, origin, then streams that it takes the place of. Returns its seq, and the
-- streams that were open before.
local client, stream, model, blob = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local is_alone, steers, node, origin = ARGV[10] == '1', ARGV[11] == '1', ARGV[12], ARGV[13]

if not has_seat(client) then
    return no('not_in_room')
end
local is_left = {}
for index = 14, #ARGV - 3 do
    is_left[ARGV[index]] = true
end
local left, ahead
ahead = {}
for _, ask in ipairs(open_asks()) do
    if ask.stream == stream then
        return ok(ask.seq, ahead) -- the reply was lost
    elseif is_left[ask.stream] then
        left = ask
    else
        ahead[#ahead + 1] = ask.stream
    end
end
if is_alone and #ahead > 0 then
    return no('busy')
end
local item, number = '', 0
if left then
    number = left.seq
    redis.call('HDEL', ASKS, left.stream)
    tell('withdrawn', '', left.stream)
elseif blob ~= '' then
    item, number = append(blob)
end
local ask = {stream = stream, client = client, model = model, seq = number, node = node}
ask.number = redis.call('HINCRBY', META, 'asks', 1)
local text = cjson.encode(ask)
redis.call('HSET', ASKS, stream, text)
tell('asked', origin, text, item, steers and table.concat(ahead, ' ') or '')
live(LIFE)
return ok(number, ahead)
