#define cJSON_ArrayForEach(e, a) for (e = (a) ? (a)->child : 0; e; e = e->next)
