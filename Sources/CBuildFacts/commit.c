#include "CBuildFacts.h"

const char *CBuildFacts_commit(void) { return BUILD_FACTS_COMMIT; }
