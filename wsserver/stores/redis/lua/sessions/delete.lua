-- ARGV: 4 '1': only if it is past its time
local is_there = is_alive()
if ARGV[4] == '1' then
    if not is_there then
        wipe()
    end
    return {'ok'}
end
wipe()
return {is_there and 'ok' or 'none'}
