-- Empty a node's box. KEYS: box. Returns its letters.
local letters = redis.call('LRANGE', KEYS[1], 0, -1)
redis.call('DEL', KEYS[1])
return letters
