-- ARGV: 1 writer, 2 text, 3 tokens, 4 publish. A whole text at once, where nobody writes.
local state = field('state')
if state == 'queued' then
    local fence = raise_fence(ARGV[1], 'running')
    add_text(fence, redis.call('STRLEN', TEXT), ARGV[2], ARGV[3], '')
end
return state and field('writer') == ARGV[1] and 1 or 0
