"""`apaise demo`: an evening on a real mesh, told step by step. It calls the services as any client would."""
