-- Open an ask. Arguments: client, stream, model, entry (empty: none), whether it must be alone,
-- whether it steers, node, origin. Returns its seq, and the streams that were open before.
local client, stream, model, blob = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local is_alone, steers, node, origin = ARGV[10] == '1', ARGV[11] == '1', ARGV[12], ARGV[13]

if not has_seat(client) then
    return no('not_in_room')
end
local ahead = {}
for _, ask in ipairs(open_asks()) do
    if ask.stream == stream then
        return ok(ask.seq, ahead) -- the reply was lost
    end
    ahead[#ahead + 1] = ask.stream
end
if redis.call('ZSCORE', ANSWERS, stream) or is_alone and #ahead > 0 then
    return no('busy') -- where it has its answer, or will have none, this was late: nobody waits
end
local item, number = '', 0
if blob ~= '' then
    item, number = append(blob)
end
local ask = {stream = stream, client = client, model = model, seq = number, node = node}
ask.number = redis.call('HINCRBY', META, 'asks', 1)
local text = cjson.encode(ask)
redis.call('HSET', ASKS, stream, text)
tell('asked', origin, text, item, steers and table.concat(ahead, ' ') or '')
live(LIFE)
return ok(number, ahead)
